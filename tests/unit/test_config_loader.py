"""From a file to a checked configuration, and what is said about one that can't be used."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llm_bot.cli import check, schema
from llm_bot.config import (
    NEEDS_RESTART,
    ConfigFileError,
    FieldChange,
    LoadedConfig,
    differences,
    load_config,
)
from llm_bot.config.environment import Substitution
from llm_bot.config.yaml_source import dotted
from llm_bot.errors import Problem

LEAST = """\
nats: {servers: ["nats://localhost:4222"]}
channels: [{name: lounge}]
bot: {username: MyBot}
llm_api: {base_url: "http://m/v1", model: m, provider: ollama}
"""
SECRET = "hunter2hunter2"
EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"

# One directory for all examples of hypothesis, which makes many of them for one test.
in_one_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture
def write(tmp_path: Path):
    """Writes the configuration file of a test and returns its path."""

    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


@pytest.fixture
def load(write):
    """Loads a text as a configuration file."""

    def from_text(text: str | bytes, environ: dict[str, str] | None = None) -> LoadedConfig:
        return load_config(write(text), environ or {})

    return from_text


@pytest.fixture
def refused(load):
    """The problems of a text that can't be used, by path."""

    def problems(text: str | bytes, environ: dict[str, str] | None = None) -> dict[str, Problem]:
        with pytest.raises(ConfigFileError) as caught:
            load(text, environ)
        found = caught.value.problems
        assert list(found) == sorted(found, key=lambda problem: problem.line)
        assert len({problem.path for problem in found}) == len(found)
        return {problem.path: problem for problem in found}

    return problems


# CONF-1
class TestWholeFiles:
    @pytest.mark.parametrize(
        ("content", "line", "words"),
        [
            (b"", 1, "the file is empty"),
            (b"# only a comment\n", 1, "the file is empty"),
            (b"- a\n", 1, "must be a mapping"),
            (b"text", 1, "must be a mapping"),
            (b"a: 1\nb: \xff\xfe\n", 2, "not UTF-8"),
            ("a: 1".encode("utf-16"), 1, "not UTF-8"),
            (b"a: 1\nb: 2\x01\n", 2, "a forbidden character"),
            (b"a: 1\nb: [1, 2\nc: 3\n", 3, "a bracket or brace that isn't closed"),
            (b"a: 1\n\tb: 2\n", 2, "a tab"),
            (b"a: 1\rb: 2\rc: [\r", 4, "a bracket or brace"),
            (b"a: b: c\n", 1, "a second colon"),
            (b"a:\n\tb: 2\n", 2, "a tab"),
            (b"a: 1\nb: @c\n", 2, "a value that begins with @"),
            (b"a:\n  b: 1\n   c: 2\n", 3, "a line that is indented deeper"),
            (b"a:\n  - b: 1\n     c: 2\n", 3, "a line that is indented deeper"),
            (b"a: *b\n", 1, "without its anchor"),
            (b"a: 'b\n", 2, "a quote that isn't closed"),
            (b"a: 1\n---\nb: 2\n", 2, "a second document"),
            (b'a: "\\q"\n', 1, "an unknown backslash sequence"),
            (b"[" * 100_000, 1, "more than 40 levels"),
            (b"a:\n" + b"- b\n" * 100_001, 99_999, "more than 100000 values"),
            (b"a: " + b"x" * 1024 * 1024, 1, "bigger than 1 MiB"),
            (b"a: &a [*a]", 1, "an alias inside of what it stands for"),
        ],
        ids=lambda value: None if isinstance(value, bytes) else str(value),
    )
    def test_what_is_no_configuration_at_all(self, refused, content, line, words):
        """A file that can't be read as YAML is one problem with a line and a way to mend it."""
        (problem,) = refused(content).values()
        assert words in problem.message
        assert abs(problem.line - line) <= 1

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("missing.yaml", "no such file.*README"),
            ("", "Is a directory"),
            ("x" * 300, "File name too long"),
            ("a\0b", "not a file name"),
        ],
    )
    def test_a_file_that_cannot_be_read(self, tmp_path, name, words):
        """It is named, with the reason; where there is none, how to make one is told."""
        with pytest.raises(ConfigFileError, match=f"(?s){re.escape(name)}:1: error: .*{words}"):
            load_config(tmp_path / name, {})

    def test_a_byte_order_mark(self, load):
        """Editors that write one do no harm."""
        assert load(b"\xef\xbb\xbf" + LEAST.encode()).config.bot.username == "MyBot"

    @pytest.mark.parametrize("link", ["[{}]", "{{<<: [{}]}}"])
    def test_a_bomb(self, refused, link):
        """Ten lines of aliases, or of merges, don't unfold to millions of values."""
        lines = [f"a0: &a0 {{{', '.join(f'k{n}: x' for n in range(10))}}}"]
        lines += [f"a{n}: &a{n} {link.format(', '.join([f'*a{n - 1}'] * 10))}" for n in range(1, 9)]
        (problem,) = refused("\n".join(lines)).values()
        assert "more than 100000 values" in problem.message

    def test_a_ladder_of_aliases(self, refused):
        """Nor do they reach any depth."""
        lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 5000)]
        (problem,) = refused("\n".join(lines)).values()
        assert "levels" in problem.message


class TestAnchors:
    def test_aliases_and_merges(self, load):
        """Anchors, aliases and << work; what stands in the mapping itself wins."""
        text = LEAST.replace(
            "[{name: lounge}]",
            """
  - name: a
    rate_limits: &limits {max_per_user_per_minute: 7, max_per_user_per_hour: 8}
  - name: b
    rate_limits: *limits
  - name: c
    rate_limits:
      <<: [*limits, {max_per_channel_per_hour: 5, max_per_user_per_hour: 6}]
      max_per_user_per_minute: 9""",
        )
        a, b, c = (channel.rate_limits for channel in load(text).config.channels)
        assert a == b
        assert c is not None
        assert (c.max_per_user_per_minute, c.max_per_user_per_hour) == (9, 8)
        assert c.max_per_channel_per_hour == 5

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("a: {[b]: c}", "a.?"),
            ("[b]: c", "?"),
            ("a: {<<: 5}", "a.<<"),
            ("a: {<<: [5]}", "a.<<"),
            ("a: &a {<<: *a}", ""),
            ("a: &a {b: {<<: *a}}", ""),
        ],
    )
    def test_keys_and_merges_that_make_no_sense(self, refused, text, path):
        """A merge of itself or of no mapping is a problem, and a key that is no word."""
        assert path in refused(text)

    def test_dates_stay_text(self, load):
        """What YAML would make a date of is the text that was written."""
        text = LEAST.replace("model: m", "model: 2025-01-01")
        assert load(text).config.llm_api.model == "2025-01-01"

    @pytest.mark.parametrize(
        "value", ["!!python/object:os.system x", "!x 1", "!!set {a}", "!!binary aa"]
    )
    def test_tags(self, refused, value):
        """A tag makes no object."""
        found = refused(f"{LEAST}dry_run: {value}\n")
        assert "a tag" in found["dry_run"].message


MANY = """\
nats:
  servers: localhost:4222
channels:
  - lounge
  - name: b c
    silenced: 1
  - name: d
  - name: D
    triggers:
      - type: mention
      - type: mention
bot:
llm_api:
  provider: opena
  base_uri: http://h
  model: 5
  timeout_seconds: "5"
  user_prompt_template: "{foo}"
  parameters:
    top_p: 7
    stop: x
triggers:
  - type: keyword
  - type: mentoin
  - pm
  - keywords: [a]
  - type: keyword
    keywords: []
    fire_probability: .nan
response_processing:
  max_response_length: 500
  content_filter:
    block_patterns: ["(a"]
health:
  host: 0.0.0.0
  port: 99999
  dashboard: null
log_level: inf
log_level: INFO
"""
EXPECTED = {
    "nats.servers": (2, "must be a list", "write a list"),
    "channels[0]": (4, "'lounge' must be a mapping", "write - name: before it"),
    "channels[1].name": (5, "'b c' must be 1 to 30 letters", ""),
    "channels[1].silenced": (6, "1 must be true or false", ""),
    "channels[3].name": (8, "duplicate channel name 'D'", ""),
    "channels[3].triggers[1].type": (11, "duplicate trigger of type 'mention'", ""),
    "bot": (12, "null must be a mapping", "indent"),
    "llm_api.provider": (14, "'opena' must be 'openai', 'ollama'", "did you mean openai?"),
    "llm_api.base_url": (13, "missing required key", "base_uri is unknown"),
    "llm_api.model": (16, "5 must be text", "quotes"),
    "llm_api.timeout_seconds": (17, "'5' must be a number", "take the quotes away"),
    "llm_api.user_prompt_template": (18, "unknown field: {foo}", "{trigger_message}"),
    "llm_api.parameters.top_p": (20, "7 must be less than or equal to 1", ""),
    "llm_api.parameters.stop": (21, "'x' must be a list", "write a list"),
    "triggers[0].keywords": (23, "missing required key", ""),
    "triggers[1].type": (24, "'mentoin' must be one of 'mention'", "did you mean mention?"),
    "triggers[2]": (25, "'pm' must be a mapping", "write - type: before it"),
    "triggers[3].type": (26, "missing required key", ""),
    "triggers[4].keywords": (28, "must have at least 1 item", ""),
    "triggers[4].fire_probability": (29, "NaN must be a finite number", ""),
    "response_processing.max_response_length": (31, "at most server_max_length", "raise"),
    "response_processing.content_filter.block_patterns[0]": (33, "compiles: missing )", "quote"),
    "health.token": (34, "missing required key", "127.0.0.1"),
    "health.port": (36, "99999 must be less than or equal to 65535", ""),
    "health.dashboard": (37, "null must be true or false", "leave the key out"),
    "log_level": (39, "duplicate key, first in line 38", "delete"),
}


class TestProblems:
    def test_all_of_them_at_once(self, refused):
        """No problem hides another, and nothing else is reported (REQ-11, CONF-7)."""
        assert set(refused(MANY)) == set(EXPECTED)

    @pytest.mark.parametrize("path", EXPECTED)
    def test_each_in_plain_words(self, refused, path):
        """Line, path, what is wrong, and how to mend it."""
        line, message, suggestion = EXPECTED[path]
        problem = refused(MANY)[path]
        assert problem.line == line
        assert message in problem.message
        assert suggestion in problem.suggestion
        assert str(problem).startswith(f"{path}: {problem.message}")

    @pytest.mark.parametrize(
        ("text", "path", "words"),
        [
            ('health: {port: "8080"}', "health.port", "'8080' must be .* number .take the quotes"),
            ('health: {port: "eighty"}', "health.port", "'eighty' must be a whole number$"),
            ('dry_run: "True"', "dry_run", "'True' must be true or false .take the quotes away"),
            ("dry_run: maybe", "dry_run", "'maybe' must be true or false$"),
            ("log_level: loud", "log_level", "'loud' must be 'DEBUG', .* or 'CRITICAL'$"),
            ("channels: {name: a}", "channels", "the mapping must be a list .begin each item"),
            ("bot: {aliases: a}", "bot.aliases", "'a' must be a list .write a list"),
            ("bot: {username: no}", "bot.username", "false must be text .put it in quotes"),
            ("nats: {user: 007}", "nats.user", "7 must be text .put it in quotes"),
            ("instance: [a]", "instance", "the list must be text"),
            ("instance: {a: b}", "instance", "the mapping must be text"),
            ("instance: ''", "instance", "'' must be 1 to 50 letters"),
            ("instance: " + "x" * 100, "instance", "xxx... must be 1 to 50 letters"),
            ('instance: "a\\u202eb"', "instance", r"\\u202e"),
            ("context_window: {size: 1.5}", "context_window.size", "1.5 must be a whole number"),
            ("nats: {servers: ['http://u:secret@h']}", "nats.servers[0]", "must be a URL such as"),
            ("llm_api: {base_url: 'http://u:secret@h'}", "llm_api.base_url", "without a user"),
            ("bus: {url: 'redis://u:secret@h'}", "bus.url", "without a user"),
            ("bus: {user: u}", "bus.password", "missing required key, as there is a user"),
            ("llm_api: {extra_body: {a: .nan}}", "llm_api.extra_body.a", "the value must be"),
            ("health: {token: 5}", "health.token", "the value must be text"),
        ],
    )
    def test_one_problem(self, refused, text, path, words):
        """Values are shown short and printable, what may hold a secret isn't (CONF-23); what is
        suggested would help."""
        problem = str(refused(text)[path])
        assert re.search(words, problem)
        assert "secret" not in problem
        assert len(problem) < 160

    def test_what_may_come_only_once(self, refused):
        """Names of channels, capitals aside (CONF-14), and all triggers but keyword (CONF-16)."""
        triggers = "[{type: pm}, {type: keyword, keywords: [a]}, {type: keyword, keywords: [b]}]"
        once = LEAST.replace("{name: lounge}", f"{{name: a, triggers: {triggers}}}, {{name: b}}")
        twice = once.replace("name: b", "name: A").replace("[{type: pm}", "[{type: pm}, {type: pm}")
        assert set(refused(f"{twice}triggers: [{{type: mention}}, {{type: mention}}]")) == {
            "channels[1].name",
            "channels[0].triggers[1].type",
            "triggers[1].type",
        }

    def test_warnings_come_along(self, load):
        """Unknown keys are told beside the errors that they may have caused."""
        with pytest.raises(ConfigFileError) as caught:
            load(MANY)
        assert [warning.path for warning in caught.value.warnings] == ["llm_api.base_uri"]

    @pytest.mark.parametrize(
        ("text", "line", "path"),
        [
            ("dry_run: true\n", 1, "channels"),
            ("\n\nbot: {}\n", 3, "bot.username"),
            ("\nchannels:\n  - name: a\n  -\n    silenced: true\n", 5, "channels[1].name"),
            ("channels:\n  - name: a\n    triggers:\n    - {type: keyword}\n", 4,
             "channels[0].triggers[0].keywords"),
        ],
    )  # fmt: skip
    def test_a_missing_key_is_on_the_line_of_its_parent(self, refused, text, line, path):
        """The line is that of the nearest parent, else 1 (CONF-7)."""
        assert refused(text)[path].line == line

    @pytest.mark.parametrize("text", ["\ud800", "\udfff x"])
    def test_half_characters(self, refused, text):
        """A lone surrogate gets no further, be it of the file or of the environment."""
        assert refused(yaml.safe_dump({"a": text}))
        (problem,) = refused(f"{LEAST}instance: ${{A}}\n", {"A": text}).values()
        assert "the value of ${A} must be a valid string" in problem.message

    @pytest.mark.parametrize("value", ["!!int x", "!!bool maybe", "!!float y", "1" * 5000])
    def test_numbers_that_are_none(self, refused, value):
        """What claims to be a number or a flag and isn't one is a problem, not a crash."""
        assert "not a number" in refused(f"{LEAST}dry_run: {value}\n")["dry_run"].message

    def test_dotted(self):
        """Paths are dotted, with numbers in brackets, and printable."""
        assert dotted(("triggers", 1, "keywords")) == "triggers[1].keywords"
        assert dotted(()) == ""
        assert dotted(("a\nb",)) == r"'a\nb'"


class TestEnvironment:
    @pytest.mark.parametrize(
        ("text", "result"),
        [
            ("${A}", "alpha"),
            ("x${A}y${B}", "xalphaybeta"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$A $ {A} }", "$A $ {A} }"),
            ("${NESTED}", "${A}"),
        ],
    )
    def test_what_is_replaced(self, text, result):
        """`${NAME}` is replaced once, `$${` stands for `${`, and all else stays (CONF-2)."""
        environ = {"A": "alpha", "B": "beta", "NESTED": "${A}"}
        assert Substitution({"k": [text]}, environ).data == {"k": [result]}

    @given(st.text(), st.text())
    @example("$", "{A}")
    @example("$${", "${")
    def test_escaping_is_a_round_trip(self, value, around):
        """Any text can be written, and any value comes through as it is."""
        assert Substitution(value.replace("${", "$${"), {}).data == value
        escaped = around.replace("${", "$${").rstrip("$")
        result = Substitution(f"{escaped}${{A}}", {"A": value}).data
        assert result == around.rstrip("$") + value

    def test_a_variable_that_is_not_set(self, refused):
        """It is named, with the field, the line, and a variable of nearly that name (CONF-2)."""
        text = LEAST.replace("model: m", "model: '${MODLE_NAME}'") + "instance: ${NOPE}\n"
        found = refused(text, {"MODEL_NAME": "x"})
        assert set(found) == {"llm_api.model", "instance"}
        assert str(found["llm_api.model"]) == (
            "llm_api.model: ${MODLE_NAME} isn't set (did you mean ${MODEL_NAME}?)"
        )
        assert found["instance"] == Problem(
            5, "instance", "${NOPE} isn't set", "set NOPE in the environment"
        )

    @pytest.mark.parametrize("text", ["${}", "${A-B}", "${A:-x}", "${A", "${1A}", "${ A }"])
    def test_references_that_are_none(self, refused, text):
        """Only a plain name is understood, and what stands in the braces isn't repeated."""
        problem = refused(f"{LEAST}instance: '{text}'\n", {"A": "x"})["instance"]
        assert "without a plain NAME" in problem.message
        assert "$${" in problem.suggestion

    @given(st.text())
    @in_one_directory
    def test_a_value_adds_no_yaml(self, load, value):
        """Whatever a variable holds is one text and never structure (CONF-3)."""
        text = LEAST.replace("model: m", "model: m, system_prompt: '${A}'")
        environ = {"A": f"x{value}"}
        try:
            assert load(text, environ).config.llm_api.system_prompt == environ["A"]
        except ConfigFileError:
            assert any("\ud800" <= letter <= "\udfff" for letter in value)  # no text at all

    @pytest.mark.parametrize(
        ("setting", "value", "expected"),
        [
            ("health: {port: '${V}'}", "9000", 9000),
            ("context_window: {size: '${V}'}", " 10 ", 10),
            ("replies: {deadline_seconds: '${V}'}", "2.5", 2.5),
            ("replies: {deadline_seconds: '${V}'}", "3", 3.0),
            ("dry_run: ${V}", "true", True),
            ("dry_run: ${V}", "FALSE", False),
            ("context_window: {size: '${V}'}", "010", 10),
            ("replies: {deadline_seconds: '${V}'}", "1e1", 10.0),
            ("instance: ${V}", "5", "5"),
            ("instance: ${V}", "true", "true"),
        ],
    )
    def test_numbers_and_flags(self, load, setting, value, expected):
        """One `${NAME}` may stand for a number or a flag where the field wants one (CONF-3)."""
        config = load(f"{LEAST}{setting}\n", {"V": value}).config
        (section, inner), *_ = yaml.safe_load(setting).items()
        found = getattr(config, section)
        found = getattr(found, next(iter(inner))) if isinstance(inner, dict) else found
        assert found == expected
        assert type(found) is type(expected)

    @pytest.mark.parametrize(
        ("setting", "path", "value"),
        [
            ("health: {port: '${V}'}", "health.port", "eighty"),
            ("health: {port: '${V}'}", "health.port", "true"),
            ("health: {port: '${V}'}", "health.port", "80.5"),
            ("health: {port: '${V}'}", "health.port", "99999"),
            ("health: {port: '8${V}'}", "health.port", "080"),
            ("health: {port: '${V}'}", "health.port", "0x10"),
            ("health: {port: '${V}'}", "health.port", "1_000"),
            ("health: {port: '${V}'}", "health.port", ""),
            ("dry_run: ${V}", "dry_run", "1"),
            ("dry_run: ${V}", "dry_run", "yes"),
            ("replies: {deadline_seconds: '${V}'}", "replies.deadline_seconds", "nan"),
        ],
    )
    def test_what_is_no_number(self, refused, setting, path, value):
        """Plain decimal only; what doesn't fit is told by the name of its variable alone."""
        problem = refused(f"{LEAST}{setting}\n", {"V": value})[path]
        assert problem.message.startswith("the value of ${V} must be ")

    def test_vision_model_of_mlx(self, load):
        """An mlx provider without vision_model takes the variable VISION_MODEL; others don't."""
        environ = {"VISION_MODEL": "eyes"}
        mlx = LEAST.replace("ollama", "mlx")
        assert load(mlx, environ).config.llm_api.vision_model == "eyes"
        assert load(mlx).config.llm_api.vision_model is None
        assert load(LEAST, environ).config.llm_api.vision_model is None
        named = mlx.replace("model: m", "model: m, vision_model: own")
        assert load(named, environ).config.llm_api.vision_model == "own"


class TestFiles:
    def test_secrets_in_files(self, load, tmp_path):
        """Each *_file is read, without the line break at its end, relative to the configuration."""
        # CONF-4
        for name in ("password", "api", "fallback", "health"):
            (tmp_path / f"{name}.txt").write_text(f"the-{name}-secret\n")
        text = """\
nats: {servers: ["nats://h:1"], user: u, password_file: password.txt}
channels: [{name: lounge}]
bot: {username: MyBot}
llm_api:
  base_url: http://m/v1
  model: m
  api_key_file: ${DIRECTORY}/api.txt
  fallbacks:
    - {base_url: "http://a/v1", model: a, provider: ollama}
    - {base_url: "http://b/v1", model: b, api_key_file: ./fallback.txt}
health: {host: 0.0.0.0, token_file: health.txt}
"""
        config = load(text, {"DIRECTORY": str(tmp_path)}).config
        assert set(config.secrets()) == {
            f"the-{name}-secret" for name in ("password", "api", "fallback", "health")
        }
        assert config.llm_api.fallbacks[1].api_key is not None
        assert config.llm_api.fallbacks[0].api_key is None
        assert config.health.token_file == str(tmp_path / "health.txt")

    def test_key_files_of_nats(self, load, tmp_path):
        """The seed in a .creds file is secret, the headings aren't; the path becomes absolute."""
        seed = "SUAEXAMPLEEXAMPLEEXAMPLEEXAMPLE"
        (tmp_path / "user.creds").write_text(
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        text = LEAST.replace('4222"]', '4222"], credentials_file: user.creds')
        config = load(text).config
        assert config.secrets() == (seed,)
        assert config.nats.credentials_file == str(tmp_path / "user.creds")

    def test_certificates(self, load, refused, tmp_path):
        """Certificates have to be readable, however long, and are no secrets."""
        (tmp_path / "ca.pem").write_bytes(b"x" * 200_000)
        tls = LEAST.replace('4222"]', '4222"], tls: {ca_file: ca.pem}')
        assert load(tls).config.nats.tls.ca_file == str(tmp_path / "ca.pem")
        assert "nats.tls.ca_file" in refused(tls.replace("ca.pem", "cb.pem"))

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("./missing", None, "'./missing' names a file that can't be read: No such file"),
            ("key.txt", b"", "an empty file"),
            ("key.txt", b"\n \n", "an empty file"),
            ("key.txt", b"a\nb", "isn't one line"),
            ("key.txt", "schlüssel".encode(), "isn't plain ASCII"),
            ("key.txt", b"\xff\xfe", "isn't one line"),
            ("key.txt", b"x" * 70_000, "over 64 KiB"),
            (".", None, "Is a directory"),
        ],
    )
    def test_files_that_hold_no_secret(self, refused, tmp_path, name, content, words):
        """A missing, empty or odd file is an error that names the path and the field (CONF-5)."""
        if content is not None:
            (tmp_path / name).write_bytes(content)
        text = LEAST.replace("model: m", f"model: m, api_key_file: '{name}'")
        problem = refused(text)["llm_api.api_key_file"]
        assert words in problem.message
        assert problem.line == 4
        assert "x" * 10 not in str(problem)

    def test_a_secret_in_place_of_a_file_name(self, refused):
        """The key itself, put into api_key_file, isn't shown."""
        text = LEAST.replace("model: m", f"api_key_file: {SECRET}, timeout_seconds: -1")
        found = refused(text)
        assert SECRET not in str(found)
        # a file that is missing hides no other problem
        assert {path.partition(".")[2] for path in found} == {
            "api_key_file", "timeout_seconds", "model"
        }  # fmt: skip


# Where a secret may stand, rightly or by mistake. What is wrong with each differs.
LEAKY = [
    "llm_api: {{api_key: [{0}]}}",
    "llm_api: {{api_key: {{{0}: 1}}}}",
    "llm_api: {{api_key: ' {0}'}}",
    "llm_api: {{api_key: {0}, api_key_file: x/y}}",
    "llm_api: {{api_key_file: {0}}}",
    "llm_api: {{api_key: '${{{0}-}}'}}",
    "llm_api: {{fallbacks: [{{api_key: [{0}]}}, {0}: 1]}}",
    "llm_api: {{extra_headers: {{Authorization: 'Bearer\\u0001{0}'}}}}",
    'llm_api: {{extra_headers: {{Authorization: "Bearer\\n{0}"}}}}',
    "llm_api: {{extra_headers: {{Authorization: [{0}]}}}}",
    "llm_api: {{extra_body: [{0}]}}",
    "llm_api: {{base_url: 'https://user:{0}@h'}}",
    "llm_api: {{base_url: 'https://h/v1?key={0}'}}",
    "nats: {{password: {0}, servers: 'nats://user:{0}@h'}}",
    "nats: {{servers: ['nats://user:{0}@h:x', 'user:{0}@h', '{0}@h']}}",
    "nats: {{token: {{a: {0}}}}}",
    "health: {{token: [{0}], host: 0.0.0.0}}",
    "nats: {{password: *{0}}}",
    "nats: {{password: !{0} x}}",
    "nats: {{password: !<{0}> x}}",
    "nats: {{password: &{0}! x}}",
    "nats: {{password: @{0}}}",
    "nats: {{password: '{0}}}",
    'nats: {{password: "\\q{0}"}}',
    "nats:\n  password: {0}: {0}\n",
    "nats:\n  password: |{0}\n  {0}\n",
    "%{0}\n",
    "nats: {{password: `{0}`}}",
    "nats: {{password: {0}\n",
]
FROM_ENVIRONMENT = [
    "instance: ${S}!",
    "log_level: ${S}",
    "dry_run: ${S}",
    "channels: ['${S}', {name: '${S}!', domain: '${S} ', triggers: '${S}'}]",
    "triggers: [{type: '${S}'}, {type: keyword, match: '${S}', keywords: '${S}'}]",
    "context_window: {size: '${S}', max_age_seconds: '${S}'}",
    "llm_api: {base_url: '${S}', provider: '${S}', user_prompt_template: '{${S}}'}",
    "llm_api: {user_prompt_template: 'a {${S}} b', api_key_file: './${S}'}",
    "nats: {servers: ['${S}'], dialect: '${S}', credentials_file: '${S}/x'}",
    "response_processing: {content_filter: {block_patterns: ['(?P<${S}', '(?P=${S})']}}",
    "health: {host: '${S}/', port: '${S}', token_file: '${S}/x'}",
    "bot: '${S}'",
]


# CONF-8
class TestNoSecretInAnyError:
    @pytest.mark.parametrize("template", LEAKY)
    def test_secrets_that_are_written(self, load, template):
        """Whatever is wrong with a secret, its value isn't part of the words."""
        with pytest.raises(ConfigFileError) as caught:
            load(template.format(SECRET))
        shown = str(caught.value)
        assert SECRET not in shown
        # causes and contexts are printed with a traceback
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None

    @pytest.mark.parametrize("text", FROM_ENVIRONMENT)
    def test_values_of_the_environment(self, load, text):
        """A value that came from a variable isn't shown in any field."""
        with pytest.raises(ConfigFileError) as caught:
            load(text, {"S": SECRET})
        assert SECRET not in str(caught.value)

    @given(
        st.sampled_from(LEAKY),
        st.text(alphabet=st.sampled_from("'\"{}[]:,&*!|>%@`\\#-? \t\n"), max_size=6),
    )
    @in_one_directory
    def test_odd_characters_around_a_secret(self, load, template, around):
        """No kind of syntax error repeats the text that it stumbles over."""
        try:
            load(template.format(SECRET).replace(SECRET, around + SECRET))
        except ConfigFileError as exc:
            problems = "\n".join(map(str, exc.problems))
            # a key is a name, and unknown names are told
            if f"{SECRET}" in problems:
                pytest.fail(problems)


class TestWarnings:
    @pytest.mark.parametrize(
        ("setting", "path", "suggestion"),
        [
            ("log_levle: INFO", "log_levle", "did you mean log_level?"),
            ("health: {prot: 1}", "health.prot", "did you mean port?"),
            ("temperature: 1", "temperature", "did you mean llm_api.parameters.temperature?"),
            ("bus: {xyz: 1}", "bus.xyz", ""),
            ("triggers: [{type: keyword, keywords: [a], key_words: [b]}]",
             "triggers[0].key_words", "did you mean keywords?"),
            ("triggers: [{type: mention, keywords: [a]}]", "triggers[0].keywords", ""),
            ("triggers: [{type: mention, mention: 1}]", "triggers[0].mention", ""),
            ("triggers: [{type: pm, rate_limit: {max_per_user_per_min: 1}}]",
             "triggers[0].rate_limit.max_per_user_per_min",
             "did you mean max_per_user_per_minute?"),
        ],
    )  # fmt: skip
    def test_unknown_keys(self, load, setting, path, suggestion):
        """A key that isn't known is a warning with the closest known one, at every depth."""
        # CONF-9
        (warning,) = load(f"{LEAST}{setting}\n").warnings
        assert warning.path == path
        assert warning.line == 5
        assert warning.suggestion == suggestion

    def test_where_keys_are_free(self, load):
        """Overrides are looked through; headers and bodies have the keys that the server wants."""
        text = LEAST.replace(
            "{name: lounge}",
            "{name: a, topic: x, response_processing: {content_filter: {allow_link: true}}}",
        )
        text = text.replace("model: m", "model: m, extra_headers: {X: y}, extra_body: {a: {b: 1}}")
        loaded = load(text)
        assert [warning.path for warning in loaded.warnings] == [
            "channels[0].response_processing.content_filter.allow_link",
            "channels[0].topic",
        ]
        assert loaded.config.llm_api.extra_body == {"a": {"b": 1}}

    @pytest.mark.parametrize(
        ("old", "new", "path"),
        [
            ("{name: lounge}", "{name: lounge, enabled: false}", "channels"),
            ("model: m", "model: m, api_key: abc", "llm_api.api_key"),
            ("http://m/v1", "http://m/v1/chat/completions?a=b", "llm_api.base_url"),
            ("model: m", "model: m, user_prompt_template: '{context_window}'",
             "llm_api.user_prompt_template"),
            ("model: m", "model: m, user_prompt_template: '{trigger_message}'",
             "llm_api.user_prompt_template"),
            ("bot:", "response_processing: {fallback_responses_enabled: true}\nbot:",
             "response_processing.fallback_responses"),
        ],
    )  # fmt: skip
    def test_what_is_hardly_meant(self, load, old, new, path):
        """Settings that are allowed but make little sense are warned about (CONF-11)."""
        (warning,) = load(LEAST.replace(old, new)).warnings
        assert warning.path == path
        assert "abc" not in str(warning)


PARTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["${A}", "${", "{x}", "(", "mention", "nats://h:1", "/dev/null", "../"]),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["type", "name", "enabled", "x"]), st.integers(), max_size=2),
)


def spots(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in `data`."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += spots(value, (*path, key))
    return found


SOUND = yaml.safe_load(EXAMPLE.read_text())
SPOTS = spots(SOUND)


class TestJunk:
    @given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
    @in_one_directory
    def test_any_bytes(self, load, content):
        """Whatever the file holds, the answer is a configuration or a ConfigError."""
        with pytest.raises(ConfigFileError):
            load(content)

    @given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`,#? \n\t<", max_size=60))
    @in_one_directory
    def test_any_syntax(self, load, text):
        """That holds for what looks like YAML."""
        with pytest.raises(ConfigFileError):
            load(text)

    @given(st.lists(st.tuples(st.sampled_from(SPOTS), PARTS), min_size=1, max_size=4))
    @in_one_directory
    def test_any_value_anywhere(self, load, changes):
        """And for a sound file with anything in any place."""
        data = copy.deepcopy(SOUND)
        for path, value in changes:
            parent = data
            try:
                for part in path[:-1]:
                    parent = parent[part]
                parent[path[-1]] = value
            except (KeyError, IndexError, TypeError):
                continue
        try:
            load(yaml.safe_dump(data), {"OPENAI_API_KEY": SECRET, "A": SECRET})
            problems: tuple[Problem, ...] = ()
        except ConfigFileError as exc:
            problems = exc.problems
        assert SECRET not in str(problems)
        assert all(problem.line >= 1 and problem.message for problem in problems)


class TestDifferences:
    @pytest.mark.parametrize(
        ("old", "new", "change"),
        [
            ("model: m", "model: n", ("llm_api.model", "'m'", "'n'")),
            ("bot:", "dry_run: true\nbot:", ("dry_run", "false", "true")),
            ("{name: lounge}", "{name: Lounge, silenced: true}",
             ("channels[Lounge].silenced", "false", "true")),
            ("{name: lounge}", "{name: lounge}, {name: other}",
             ("channels[other]", "(absent)", "(present)")),
            ("model: m", "model: m, api_key: sk-0123456789",
             ("llm_api.api_key", "(changed)", "(changed)")),
            ("model: m", "model: m, extra_headers: {a: b}",
             ("llm_api.extra_headers", "(changed)", "(changed)")),
            ("localhost", "u:secret@h", ("nats.servers", "(changed)", "(changed)")),
            ("{name: lounge}", "{name: lounge, rate_limits: {max_per_user_per_hour: 1}}",
             ("channels[lounge].rate_limits", "null", "(present)")),
            ("bot:", "triggers: [{type: mention}]\nbot:",
             ("triggers[1]", "(pm)", "(absent)")),
            ("username: MyBot", "username: MyBot, aliases: [a]",
             ("bot.aliases", "[]", "['a']")),
        ],
    )  # fmt: skip
    def test_field_by_field(self, load, old, new, change):
        """Each field that differs is told with both values; secrets only as changed."""
        before, after = load(LEAST).config, load(LEAST.replace(old, new)).config
        assert differences(before, before) == ()
        assert FieldChange(*change) in (found := differences(before, after))
        assert "secret" not in str(found)

    @pytest.mark.parametrize(
        ("old", "new", "path"),
        [
            ('4222"]', '4222"], nkey_seed_file: secret', "nats.key_material"),
            ("model: m", "model: m, api_key_file: ./secret", "llm_api.api_key"),
        ],
    )
    def test_secrets_in_files(self, load, tmp_path, old, new, path):
        """A file of the same name with another content is a change: a reload reads it anew."""
        configs = []
        for letter in "AB":
            (tmp_path / "secret").write_text("SUA" + letter * 30)
            configs.append(load(LEAST.replace(old, new)).config)
        assert differences(*configs) == (FieldChange(path, "(changed)", "(changed)"),)

    def test_what_needs_a_restart(self, load):
        """nats, bus, health and instance can't change in a running process (LIFE-9)."""
        new = LEAST.replace("4222", "4223") + (
            "bus: {type: redis}\nhealth: {port: 1}\ninstance: b\ndry_run: true\n"
        )
        changes = differences(load(LEAST).config, load(new).config)
        needing = {change.path.partition(".")[0] for change in changes if change.needs_restart}
        assert needing == set(NEEDS_RESTART)
        assert [change.path for change in changes if not change.needs_restart] == ["dry_run"]


# CONF-12
class TestCommands:
    def test_check_of_a_sound_file(self, write, capsys):
        """Exit 0, and what the bot would do in a few lines."""
        rooms = "{name: a}, {name: b, silenced: true}, {name: c, enabled: false, triggers: []}"
        text = LEAST.replace("{name: lounge}", rooms) + "dry_run: true\n"
        assert check.run(write(text), strict=True) == 0
        out = capsys.readouterr().out
        assert "usable, 0 warnings" in out
        assert "a, b (silenced), c (disabled)" in out
        assert "ollama, model m" in out
        assert "mention, pm (1 room with its own)" in out
        assert "nothing will be said" in out

    def test_check_of_a_doubtful_file(self, write, capsys):
        """A warning is printed, and is an error only with --strict."""
        path = write(f"{LEAST}dryrun: true\n")
        assert check.run(path, strict=False) == 0
        assert "config.yaml:5: warning: dryrun: unknown key" in capsys.readouterr().out
        assert check.run(path, strict=True) == 1
        assert "refused, 1 warning" in capsys.readouterr().out

    def test_check_of_a_broken_file(self, write, capsys):
        """Exit 1, and every error on a line of its own."""
        assert check.run(write(MANY), strict=False) == 1
        out = capsys.readouterr().out
        assert out.count(": error: ") == len(EXPECTED)
        assert f"{len(EXPECTED)} errors" in out

    def test_check_uses_the_environment(self, write, monkeypatch):
        """Variables are those of the process."""
        monkeypatch.setenv("THE_MODEL", "m")
        assert (
            check.run(write(LEAST.replace("model: m", "model: '${THE_MODEL}'")), strict=True) == 0
        )

    def test_schema(self, capsys):
        """The schema goes to standard output as JSON."""
        assert schema.run() == 0
        assert yaml.safe_load(capsys.readouterr().out)["type"] == "object"
