"""The contract of all adapters: each passes it over a socket, with a server as it really speaks."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from pathlib import Path

import pytest

from llm_bot.llm_client import (
    AuthenticationError,
    GenerationError,
    ImagePart,
    LLMClient,
    LLMError,
    LLMRequest,
    Message,
    ModelNotFoundError,
    ProviderState,
    RateLimitError,
    ValidationError,
)
from llm_bot.llm_client.adapters import ADAPTER_REGISTRY
from tests.fakes import ManualClock
from tests.provider_contract import BoundedContextContract, Capabilities, Doomed, ProviderContract
from tests.unit.llm_client.pretend_server import MODEL, SLOWLY, VISION, PretendServer
from tests.unit.llm_client.scripted_server import Answer, chat
from tests.unit.llm_client.support import KEY, config, request

CHAT = LLMRequest([Message("system", "Be kind."), Message("user", "Hello")])
STRICT = "Conversation roles must alternate user/assistant/user/assistant/..."
ANSWER = f"Hello from {MODEL}."


@pytest.fixture(params=sorted(ADAPTER_REGISTRY))
def provider(request):
    return request.param


@pytest.fixture
async def pretended(provider):
    async with PretendServer(provider) as server:
        yield server


def client_of(provider, url, **changes):
    made = config(provider=provider, base_url=url, retry_delay_seconds=0, **changes)
    return LLMClient(made, clock=ManualClock(passes_up_to=math.inf))


class TestContract(ProviderContract, BoundedContextContract):
    """What every provider promises, by the suite that real servers are asked as well."""

    can = Capabilities(embeds=True)

    @pytest.fixture(params=["", STRICT], ids=["any turns", "strict turns"])
    def config(self, provider, pretended, request):
        pretended.key = KEY
        pretended.strict = request.param
        return config(provider=provider, base_url=pretended.url)

    @pytest.fixture
    async def doomed(self, provider):
        async with PretendServer(provider) as server:
            yield Doomed(config(provider=provider, base_url=server.url), server.stop)

    @pytest.fixture
    def slow(self):
        return LLMRequest([Message("user", SLOWLY)])


@pytest.mark.parametrize("suffix", ["", "/"])
async def test_the_address_needs_no_version(provider, pretended, suffix):
    """Of a local server `/v1` may be left out; of a hosted one the address is what it is."""
    url = pretended.url.removesuffix("/v1") + suffix
    async with client_of(provider, url) as client:
        if provider == "openai":
            with pytest.raises(ModelNotFoundError):
                await client.generate(CHAT)
        else:
            assert (await client.generate(CHAT)).content == ANSWER


async def test_it_is_well(provider, pretended):
    """A health check asks its own path, and says what is wrong."""
    async with client_of(provider, pretended.url) as client:
        assert (await client.health_check())[provider].available
        assert pretended.paths == [pretended.kind.health]
        pretended.key = "another"
        health = (await client.health_check())[provider]
    assert not health.available
    assert health.error
    assert KEY not in health.error


async def test_refused_parameters_are_learned(provider, pretended, caplog):
    """Each is refused once, is no failure, and isn't sent any more; the log says which."""
    pretended.refused = {"temperature", "top_p"}
    parameters = {"temperature": 0.7, "top_p": 0.9, "seed": 1, "max_tokens": 50}
    async with client_of(provider, pretended.url, parameters=parameters) as client:
        with caplog.at_level(logging.WARNING):
            response = await client.generate(CHAT)
        assert (response.content, response.attempts) == (ANSWER, 1)
        assert client.states == {provider: ProviderState.UP}
        assert [set(body) & set(parameters) for body in pretended.chats] == [
            {"temperature", "top_p", "seed", "max_tokens"},
            {"top_p", "seed", "max_tokens"},
            {"seed", "max_tokens"},
        ]
        assert all(body["stream"] is False for body in pretended.chats)
        await client.generate(CHAT)
    assert len(pretended.chats) == 4
    (noted,) = [record for record in caplog.records if record.message == "llm.request_adapted"]
    assert vars(noted)["dropped"] == ("temperature", "top_p")
    assert ["temperature" in said for said in vars(noted)["said"]] == [True, False]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_cap_changes_its_name(provider, pretended, name):
    """A server that refuses one name of the cap is sent the other, from then on."""
    pretended.refused = {name}
    async with client_of(provider, pretended.url, parameters={name: 50}) as client:
        await client.generate(CHAT)
        await client.generate(CHAT)
    caps = [{key: body[key] for key in body if key.startswith("max_")} for body in pretended.chats]
    other = ({"max_tokens", "max_completion_tokens"} - {name}).pop()
    assert caps == [{name: 50}, {other: 50}, {other: 50}]


async def test_an_unknown_parameter(provider, pretended):
    """Only a server that refuses it isn't sent it again; the others ignore it."""
    async with client_of(provider, pretended.url, parameters={"top_k": 40}) as client:
        await client.generate(CHAT)
    sent = ["top_k" in body for body in pretended.chats]
    assert sent == ([True, False] if provider == "openai" else [True])


@pytest.mark.parametrize("words", ["System role not supported", STRICT])
async def test_strict_templates(provider, pretended, words):
    """A template that wants strict turns gets them, from its first refusal on."""
    pretended.strict = words
    turns = [Message("system", "Be kind."), Message("user", "Hello"), Message("user", "You?")]
    async with client_of(provider, pretended.url) as client:
        response = await client.generate(LLMRequest(turns))
        await client.generate(LLMRequest(turns))
    assert (response.content, response.attempts) == (ANSWER, 1)
    assert len(pretended.chats) == 3
    for body in pretended.chats[1:]:
        assert body["messages"] == [{"role": "user", "content": "Be kind.\n\nHello\n\nYou?"}]


async def test_images(provider, pretended, tmp_path):
    """A file goes out as a data URL, with mlx to the vision model; a missing one is refused."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    shown = LLMRequest([Message("user", [ImagePart(str(tmp_path / "a.png"))])])
    async with client_of(provider, pretended.url, vision_model=VISION) as client:
        await client.generate(shown)
        missing = LLMRequest([Message("user", [ImagePart(str(tmp_path / "b.png"))])])
        with pytest.raises(ValidationError):
            await client.generate(missing)
    (body,) = pretended.chats
    assert body["model"] == (VISION if provider == "mlx" else MODEL)
    (part,) = body["messages"][0]["content"]
    assert part["image_url"]["url"] == "data:image/png;base64,iVBORw=="


async def test_a_cut_prompt_is_warned_of(provider, pretended, caplog):
    """Ollama cuts what doesn't fit without a word: the log says so, once."""
    pretended.context = 400
    async with client_of(provider, pretended.url) as client:
        with caplog.at_level(logging.WARNING):
            await client.generate(request("x" * 10_000))
            await client.generate(request("x" * 10_000))
    doubts = [record for record in caplog.records if record.message == "llm.answer_doubtful"]
    assert len(doubts) == (1 if provider == "ollama" else 0)


async def test_a_busy_server_is_waited_for(provider, server):
    """The wait that a body asks for is kept."""
    busy = {"error": {"message": "Please try again in 2.5s.", "code": "rate_limit_exceeded"}}
    server.script(Answer(429, busy), chat("Hello"))
    clock = ManualClock(passes_up_to=math.inf)
    made = config(provider=provider, base_url=server.url, retry_delay_seconds=0)
    async with LLMClient(made, clock=clock) as client:
        assert (await client.generate(CHAT)).attempts == 2
    assert clock.slept == [2.5]


RECORDED = {
    path.stem: json.loads(path.read_text())["exchanges"]
    for path in sorted((Path(__file__).parents[2] / "data/model_servers").glob("*.json"))
}
SPEAKS_AS = {"mlx": "mlx", "llamacpp": "lmstudio", "litellm": "openai", "ollama": "ollama"}
EXCHANGES = [
    pytest.param(server, exchange, id=f"{server} {number}: {exchange['name']}")
    for server, exchanges in RECORDED.items()
    for number, exchange in enumerate(exchanges)
    if "status" in exchange  # of some there is no answer: the server hung up
]
# What isn't here is by its status.
EXPECTED: dict[str, type[LLMError]] = {
    "mlx: chat, image": ValidationError,
    "mlx: chat, no messages": ValidationError,
    "mlx: chat, unknown model": ModelNotFoundError,
    "mlx: strict template, assistant first": ValidationError,
    "litellm: chat, unknown model": ModelNotFoundError,
    "litellm: chat, no model": ModelNotFoundError,
}
BY_STATUS = {400: ValidationError, 401: AuthenticationError, 404: ModelNotFoundError}
BY_STATUS |= {405: ValidationError, 429: RateLimitError, 500: GenerationError}


@pytest.mark.parametrize(("recorded", "exchange"), EXCHANGES)
async def test_what_real_servers_answered(recorded, exchange, server, request):
    """Each answer that was recorded is read as what it is, be it asked for with a chat."""
    headers = {"content-type": exchange["headers"].get("content-type", "text/plain")}
    server.script(*[Answer(exchange["status"], exchange["body"], headers)] * 8)
    speaks = SPEAKS_AS.get(recorded, "openai")
    async with client_of(speaks, server.url, max_attempts=1) as client:
        alone = LLMRequest([Message("user", "Hello")], max_tokens=8)
        if exchange["status"] == 200 and '"choices"' in exchange["body"]:
            assert (await client.generate(alone)).content
            return
        with pytest.raises(LLMError) as caught:
            await client.generate(alone)
    default = BY_STATUS.get(exchange["status"], GenerationError)
    name = f"{recorded}: {exchange['name']}"
    assert type(caught.value) is EXPECTED.get(name, _template_error(name, default))


def _template_error(name, default):
    return ValidationError if name.startswith("mlx: strict template") else default


@pytest.mark.parametrize(("recorded", "exchange"), EXCHANGES)
async def test_what_real_servers_list(recorded, exchange, server):
    """Their lists of models are read, and everything else of theirs is an LLMError or a list."""
    server.script(Answer(exchange["status"], exchange["body"]))
    async with client_of("openai", server.url, max_attempts=1) as client:
        if exchange["path"] == "/v1/models" and exchange["status"] == 200:
            assert len(await client.list_models()) == exchange["body"].count('"id"')
            return
        outcome = (await asyncio.gather(client.list_models(), return_exceptions=True))[0]
    assert isinstance(outcome, list | LLMError)
