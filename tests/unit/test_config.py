"""The models: what is accepted, what is refused, what a room gets to see."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_bot.cli.schema import configuration_schema
from llm_bot.config import (
    PROMPT_FIELDS,
    PROMPT_TOKEN,
    ChannelConfig,
    Config,
    KeywordTriggerConfig,
    MentionTriggerConfig,
    PmTriggerConfig,
    RoomConfig,
    is_loopback,
    resolve_room,
)
from llm_bot.config.llm import KEYED_PROVIDERS, Provider
from llm_bot.llm_client import ConfigurationError, LLMConfig
from llm_bot.llm_client.adapters import ADAPTER_REGISTRY, get_adapter
from llm_bot.runtime.model import client_config


def settings(**sections: Any) -> dict[str, Any]:
    """The least that a configuration needs, with `sections` laid over it one level deep."""
    data: dict[str, Any] = {
        "nats": {"servers": ["nats://localhost:4222"]},
        "channels": [{"name": "lounge"}],
        "bot": {"username": "MyBot"},
        "llm_api": {"base_url": "http://m/v1", "model": "m", "api_key": "sk-0123456789"},
    }
    for name, section in sections.items():
        together = isinstance(section, dict) and isinstance(data.get(name), dict)
        data[name] = {**data[name], **section} if together else section
    return data


def config(**sections: Any) -> Config:
    return Config.model_validate(settings(**sections))


def places(**sections: Any) -> set[tuple[Any, ...]]:
    """Where the models refuse these settings, the innermost places only."""
    with pytest.raises(ValidationError) as caught:
        config(**sections)
    found = {error["loc"] for error in caught.value.errors(include_input=False)}
    # a list whose items are refused counts as too short as well
    return {
        place
        for place in found
        if not any(place == other[: len(place)] for other in found - {place})
    }


def at(path: str, value: Any) -> dict[str, Any]:
    """`at("a.b", 1)` is `{"a": {"b": 1}}`; a channel has a name besides."""
    for part in reversed(path.split(".")):
        value = [{"name": "a", **value}] if part == "0" else {part: value}
    return dict(value)


def place(path: str) -> tuple[Any, ...]:
    """`a.0.b` as pydantic has it."""
    return tuple(0 if part == "0" else part for part in path.split("."))


class TestDefaults:
    def test_the_least_configuration_is_enough(self):
        """Only servers, channels, user name, address, model and key are required (CONF-13)."""
        assert config().log_level == "INFO"

    def test_triggers_left_out_are_mention_and_pm_with_their_limits(self):
        """A configuration without triggers answers mentions and private messages (CONF-16)."""
        mention, pm = config().triggers
        assert isinstance(mention, MentionTriggerConfig)
        assert isinstance(pm, PmTriggerConfig)
        assert (mention.cooldown_seconds, pm.cooldown_seconds) == (10, 5)
        assert mention.rate_limit is not None
        assert mention.rate_limit.max_per_user_per_minute == 2
        assert mention.rate_limit.max_per_channel_per_minute == 5
        assert pm.rate_limit is not None
        assert pm.rate_limit.max_per_user_per_minute == 3

    @pytest.mark.parametrize("kind", ["mention", "pm", "contextual"])
    def test_a_listed_trigger_is_bare(self, kind):
        """An omitted cooldown is 0, a limit none, a probability 1; to speak unasked isn't on."""
        (trigger,) = config(triggers=[{"type": kind}]).triggers
        bare = {"enabled": kind != "contextual", "cooldown_seconds": 0, "rate_limit": None,
                "fire_probability": 1}  # fmt: skip
        assert {name: getattr(trigger, name) for name in bare} == bare

    def test_everything_is_frozen(self):
        """Nobody changes a configuration that others read."""
        checked = config()
        with pytest.raises(ValidationError):
            checked.bot.username = "Other"  # type: ignore[misc]
        with pytest.raises(ValidationError):
            checked.dry_run = True  # type: ignore[misc]


COOLDOWNS = [
    "rate_limits.global_cooldown_seconds",
    "rate_limits.media_change_cooldown_seconds",
    "replies.min_interval_seconds",
    "replies.confirm_seconds",
    "insights.topic_interval_messages",
    "llm_api.retry_delay_seconds",
    "llm_api.retry_attempts",
    "llm_api.model_cache_ttl_seconds",
    "llm_api.breaker.cooling_seconds",
    "nats.max_reconnect_attempts",
    "shutdown_grace_seconds",
    "health.port",
    "response_processing.min_relevance",
]


BAD_REDIS_URLS = [
    "", "h:1", "nats://h:1", "redis://", "redis://h/0", "redis://h:x", "redis://u:p@h", "redis://h?a=b",
]  # fmt: skip
BAD_MODEL_URLS = [
    "", "localhost:8000", "ftp://h/v1", "http://", "http://h:port/v1", "http://u:p@h/v1",
    "http://h/v1#a", "http://h/v1#", "http://a b/v1",
]  # fmt: skip
BAD_TEMPLATES = [
    "{", "}", "{foo}", "{}", "{0}", "{username!r}", "{username:>5}", "{username.x}", " ",
    "{ username }", "{{username}", "{username}}", "{Username}",
]  # fmt: skip
NO_NUMBERS = [float("nan"), float("inf"), float("-inf")]
BAD_DOMAINS = ["", "a..b", ".a", "a.", "a b", "https://a", "a.*", "a.>"]


class TestBounds:
    @pytest.mark.parametrize("path", COOLDOWNS)
    def test_none_is_below_zero(self, path):
        """Every cooldown, interval and confirm_seconds accepts 0, and nothing is negative."""
        config(**at(path, 0))
        assert places(**at(path, -1)) == {place(path)}

    @pytest.mark.parametrize(
        ("path", "inside", "outside"),
        [
            # CONF-6: text is no number, true is no 1, a single value is no list, NaN is none either
            ("context_window.size", [1, 1000], [0, 1001, "5", True, 5.0]),
            ("replies.deadline_seconds", [5], ["5", True, *NO_NUMBERS]),
            ("nats.request_timeout", [5], NO_NUMBERS),
            ("dry_run", [True, False], [1, "true", None]),
            ("bot.username", ["a"], [5, True, None]),
            ("bot.aliases", [["a"]], ["MyBot", {}]),
            ("llm_api.model", ["m"], [5, None]),
            ("llm_api.parameters.temperature", [0, 2], [-0.1, 2.1, *NO_NUMBERS]),
            ("llm_api.parameters.top_p", [0, 1], [-0.1, 1.1]),
            ("llm_api.parameters.frequency_penalty", [-2, 2], [-2.1, 2.1]),
            ("llm_api.parameters.presence_penalty", [-2, 2], [-2.1, 2.1]),
            ("llm_api.parameters.max_tokens", [1], [0]),
            ("health.port", [0, 65535], [-1, 65536]),
            ("response_processing.max_response_length", [1, 320], [0, 20_000]),
            ("response_processing.min_relevance", [0, 1], [1.1]),
            ("replies.queue_size", [1], [0]),
            ("llm_api.max_concurrent_requests", [1], [0]),
            ("rate_limits.max_per_user_per_minute", [1], [0]),
            ("log_level", ["DEBUG", "info"], ["loud", ""]),
            ("response_processing.truncation_strategy", ["hard", "sentence"], ["word"]),
            ("nats.dialect", ["auto", "kryten", "early", "plain"], ["Auto", "other"]),
            ("bus.type", ["nats", "redis", "memory"], ["kafka"]),
            ("bus.url", ["redis://h:6379", "rediss://h", "redis://[::1]:1/"], BAD_REDIS_URLS),
            ("bus.password", ["p", None], [""]),
            ("logging.format", ["json", "text", None], ["xml"]),
            ("logging.content", ["redacted", "full"], [None]),
            ("instance", ["llm_bot", "a-1"], ["a.b", "", "a b", "*"]),
            ("channels", [], [[]]),
            # CONF-14: a name is 1 to 30 of A-Z a-z 0-9 _ -, nothing with a meaning in subjects
            ("channels.0.name", ["a", "Film-Night_2", "x" * 30, "0"],
             ["", "x" * 31, "a b", "a.b", "a*", "ä", "a\n", "a>"]),
            ("channels.0.domain", ["cytu.be", "localhost", "h.example.org:8443"], BAD_DOMAINS),
            ("llm_api.base_url", ["http://h", "https://h:1/v1", "https://h/d?api-version=1"],
             BAD_MODEL_URLS),
            ("llm_api.extra_body", [{"stream": False, "model": "x"}], [{"messages": []}]),
            ("llm_api.api_key", ["sk-1"], ["", "  ", "a\nb", " sk-1", "sk-ä", 12345678]),
            ("llm_api.extra_headers", [{"X-A": "b"}, {"!#$%&'*+.^_`|~": ""}, {"a": " \t b "}],
             [{"a b": "c"}, {"": "c"}, {"a": "b\r\nc: d"}, {"a": "ä"}, {"a\n": "b"}]),
            # CONF-18: known fields, and braces that are doubled
            ("llm_api.user_prompt_template",
             ["{trigger_message}", "{{no field}} {username}", "{{{username}}}", "no field",
              "".join(f"{{{name}}}" for name in PROMPT_FIELDS)], BAD_TEMPLATES),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )  # fmt: skip
    def test_bounds(self, path, inside, outside):
        """Each bounded setting takes its ends and refuses what lies beyond them; what it takes of
        the model's, the client takes."""
        for value in inside:
            client_config(config(**at(path, value)).llm_api)
        for value in outside:
            assert places(**at(path, value)) == {place(path)}, value


class TestCrossChecks:
    @pytest.mark.parametrize("provider", ["ollama", "lmstudio", "mlx"])
    def test_local_providers_need_no_key(self, provider):
        """A key is optional where the server is local."""
        assert config(llm_api={"provider": provider, "api_key": None}).llm_api.api_key is None

    def test_openai_needs_a_key(self):
        """Of its own: that of the first provider isn't lent to the others."""
        config(llm_api={"api_key": None, "api_key_file": "key"})
        fallback = {"base_url": "http://b/v1", "model": "m"}
        assert places(llm_api={"api_key": None, "fallbacks": [fallback]}) == {
            ("llm_api", "api_key_file"),
            ("llm_api", "fallbacks", 0, "api_key_file"),
        }

    @pytest.mark.parametrize(
        ("sections", "at"),
        [
            ({"llm_api": {"api_key_file": "f"}}, "llm_api.api_key_file"),
            ({"nats": {"user": "u", "password": "p", "password_file": "f"}}, "nats.password_file"),
            ({"nats": {"token": "t", "token_file": "f"}}, "nats.token_file"),
            ({"health": {"token": "t", "token_file": "f"}}, "health.token_file"),
            ({"nats": {"password": "p"}}, "nats.password_file"),
            ({"nats": {"user": "u", "token": "t"}}, "nats.nkey_seed_file"),
            ({"nats": {"credentials_file": "a", "nkey_seed_file": "b"}}, "nats.nkey_seed_file"),
            ({"nats": {"tls": {"cert_file": "a"}}}, "nats.tls.key_file"),
            ({"nats": {"tls": {"key_file": "a"}}}, "nats.tls.key_file"),
            ({"health": {"host": "0.0.0.0"}}, "health.token_file"),
            ({"health": {"host": "bot.example"}}, "health.token_file"),
            (
                {"response_processing": {"max_response_length": 321}},
                "response_processing.server_max_length",
            ),
            (
                {"response_processing": {"content_filter": {"min_word_count": 61}}},
                "response_processing.content_filter.max_word_count",
            ),
        ],
    )
    def test_what_does_not_go_together(self, sections, at):
        """Settings that contradict each other are refused (CONF-17, CONF-19)."""
        assert places(**sections) == {place(at)}

    @pytest.mark.parametrize(
        "health",
        [
            {"host": "127.0.0.1"},
            {"host": "localhost"},
            {"host": "::1"},
            {"host": "0.0.0.0", "token": "abcdefgh"},
            {"host": "0.0.0.0", "token_file": "f"},
            {"host": "0.0.0.0", "enabled": False},
        ],
    )
    def test_when_the_health_server_needs_no_token(self, health):
        """A token is required only where others could reach a server that runs (CONF-20)."""
        config(health=health)

    @pytest.mark.parametrize(
        ("host", "expected"),
        [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
         ("LOCALHOST", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
         ("localhost.example", False)],
    )  # fmt: skip
    def test_loopback(self, host, expected):
        """Loopback is what only this machine can reach."""
        assert is_loopback(host) is expected


# CONF-16
class TestTriggers:
    def test_several_keyword_triggers(self):
        """Keyword triggers may come as often as one likes."""
        triggers = [{"type": "keyword", "keywords": [word]} for word in ("a", "b")]
        assert [type(one) for one in config(triggers=triggers).triggers] == [
            KeywordTriggerConfig
        ] * 2

    @pytest.mark.parametrize("keywords", [[], [" "], ["\u200b ", ""], None, "word"])
    def test_a_keyword_trigger_has_a_keyword(self, keywords):
        """At least one keyword, and none of them blank."""
        found = places(triggers=[{"type": "keyword", "keywords": keywords}])
        assert all(place[:4] == ("triggers", 0, "keyword", "keywords") for place in found)

    def test_no_triggers_at_all(self):
        """An empty list is a bot that never speaks."""
        assert config(triggers=[]).triggers == ()


class TestPatternsAndTemplates:
    @pytest.mark.parametrize("pattern", ["https?://", r"\b(foo|bar)\b", r"\p{L}+", "(?<=a)b"])
    def test_patterns_that_compile(self, pattern):
        """Block patterns are those of the regex package."""
        config(response_processing={"content_filter": {"block_patterns": [pattern]}})

    @pytest.mark.parametrize("pattern", ["(a", "[", "*", "(?P<a", "a{2,1}", ""])
    def test_patterns_that_do_not(self, pattern):
        """A pattern that doesn't compile is refused at the start, not at the first reply."""
        assert places(
            response_processing={"content_filter": {"block_patterns": ["fine", pattern]}}
        ) == {("response_processing", "content_filter", "block_patterns", 1)}

    @given(st.text(alphabet="{}ausernm ", min_size=1, max_size=30))
    def test_a_template_that_is_taken_has_no_brace_left_over(self, template):
        """What is accepted can be filled in one pass without a rest."""
        try:
            config(llm_api={"user_prompt_template": template})
        except ValidationError:
            return
        rest = PROMPT_TOKEN.sub(
            lambda token: "" if token[0] in {"{{", "}}"} or token[1] else token[0], template
        )
        assert "{" not in rest
        assert "}" not in rest

    def test_a_slash_at_the_end_goes(self):
        """Paths are appended to the address, so it ends without a slash."""
        assert config(llm_api={"base_url": "http://h/v1/"}).llm_api.base_url == "http://h/v1"

    @pytest.mark.parametrize("url", ["localhost:4222", "http://h", "nats://", "nats://h:x", ""])
    def test_addresses_of_servers_that_are_refused(self, url):
        """An address of a server has a scheme that NATS knows."""
        assert places(nats={"servers": [url]}) == {("nats", "servers", 0)}


SECRETS = {
    "nats": {"user": "u", "password": "pass-word-1", "servers": ["nats://x:in-the-url@h:4222"]},
    "health": {"token": "health-token-1"},
    "llm_api": {
        "api_key": "sk-first-key",
        "extra_headers": {"Authorization": "Bearer in-a-header", "X-Title": "harmless title"},
        "base_url": "http://m/v1?api-version=2024-06-01&key=in-a-query",
        "fallbacks": [{"base_url": "http://b/v1", "model": "m", "api_key": "sk-second-key"}],
    },
}


class TestSecrets:
    def test_all_of_them_are_told(self):
        """Of every section, of fallbacks, headers and addresses (CONF-21), longest first."""
        secrets = config(**SECRETS).secrets()
        assert list(secrets) == sorted(secrets, key=len, reverse=True)
        assert set(secrets) == {
            "pass-word-1",
            "in-the-url",
            "health-token-1",
            "sk-first-key",
            "Bearer in-a-header",
            "in-a-header",
            "in-a-query",
            "sk-second-key",
        }

    def test_short_ones_are_left_out(self):
        """Fewer than 6 characters would be found in innocent text."""
        assert config(nats={"user": "u", "password": "12345"}).secrets() == ("sk-0123456789",)

    def test_none_in_a_repr(self):
        """Neither repr nor str shows a secret (CONF-22)."""
        checked = config(**SECRETS)
        for secret in checked.secrets():
            assert secret not in repr(checked)
            assert secret not in str(checked)


# CONF-15
class TestRooms:
    def test_what_a_room_inherits(self):
        """Without overrides a room has the global values."""
        checked = config()
        room = resolve_room(checked, checked.channels[0])
        assert room.name == "lounge"
        assert room.system_prompt == checked.llm_api.system_prompt
        assert room.llm_model is None
        assert room.triggers == checked.triggers
        assert room.rate_limits == checked.rate_limits
        assert room.response_processing == checked.response_processing
        assert room.logging.content == "redacted"

    def test_an_override_replaces_the_whole_value(self):
        """What an override leaves out has its default, not the global value."""
        checked = config(
            channels=[
                {
                    "name": "a",
                    "system_prompt": "own",
                    "llm_model": "big",
                    "triggers": [],
                    "rate_limits": {"max_per_user_per_hour": 99},
                    "response_processing": {"max_response_length": 50},
                },
                {"name": "b", "triggers": None, "system_prompt": None},
            ],
            rate_limits={"max_per_user_per_minute": 77},
            llm_api={"system_prompt": "global"},
        )
        own, other = (resolve_room(checked, channel) for channel in checked.channels)
        assert own.system_prompt == "own"
        assert own.llm_model == "big"
        assert own.triggers == ()
        assert own.rate_limits.max_per_user_per_hour == 99
        assert own.rate_limits.max_per_user_per_minute == 3
        assert own.response_processing.max_response_length == 50
        assert other.rate_limits.max_per_user_per_minute == 77
        assert other.system_prompt == "global"
        assert len(other.triggers) == 2

    def test_every_override_reaches_the_room(self):
        """A room has a field for each key of a channel."""
        assert set(ChannelConfig.model_fields) <= set(RoomConfig.__dataclass_fields__)


class TestSchema:
    def test_every_key_is_described_and_no_other_allowed(self):
        """Editors explain each key and flag a misspelt one."""
        schema = configuration_schema()
        assert schema["$schema"].startswith("https://")
        sections = [schema, *schema["$defs"].values()]
        for section in filter(lambda one: "properties" in one, sections):
            assert section["additionalProperties"] is False
            for name, field in section["properties"].items():
                # pydantic leaves out a description that is the same as the section's own
                target = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
                described = field.get("description") or target.get("description")
                assert described, (section.get("title"), name)

    def test_a_number_may_come_from_the_environment(self):
        """`port: ${PORT}` isn't flagged."""
        schema = configuration_schema()
        port = schema["$defs"]["HealthConfig"]["properties"]["port"]
        assert {"type": "integer", "minimum": 0, "maximum": 65535} in port["anyOf"]
        assert any(choice.get("type") == "string" for choice in port["anyOf"])


def test_the_providers_are_those_of_the_client_library():
    """Two places on purpose, and the same names in both; so with who needs a key."""
    assert set(get_args(Provider)) == set(ADAPTER_REGISTRY)
    for name in ADAPTER_REGISTRY:
        keyless = LLMConfig(provider=name, base_url="http://127.0.0.1:9", model="m")
        if name in KEYED_PROVIDERS:
            with pytest.raises(ConfigurationError, match="api_key"):
                get_adapter(keyless)
        else:
            get_adapter(keyless)
