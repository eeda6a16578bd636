"""The contract of providers, kept with real servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

import pytest

from llm_bot.llm_client import LLMClient, LLMConfig, LLMError, LLMRequest, ValidationError
from tests.provider_contract import (
    USER,
    BoundedContextContract,
    Capabilities,
    Doomed,
    ProviderContract,
)
from tests.real.conftest import StartServer
from tests.real.servers import (
    KEY,
    LiteLLMServer,
    LlamaCppServer,
    MLXServer,
    MLXServerWithoutCache,
    ModelServer,
    SmallModelServer,
    StrictLlamaCppServer,
)

pytestmark = pytest.mark.integration_real


class RealServerContract(ProviderContract):
    """The contract with a process of `kind`, spoken to as `provider`."""

    kind: ClassVar[type[ModelServer]]
    provider: ClassVar[str]
    key: ClassVar[str | None] = None

    def model(self, server: ModelServer) -> str:
        """What the model is called."""
        return "tiny"

    def config_of(self, server: ModelServer) -> LLMConfig:
        """A configuration that works with `server`."""
        return LLMConfig(
            provider=self.provider,
            base_url=f"{server.url}/v1",
            model=self.model(server),
            api_key=self.key,
        )

    @pytest.fixture
    def config(self, start_server: StartServer) -> LLMConfig:
        """A server that all tests of the kind share."""
        return self.config_of(start_server(self.kind))

    @pytest.fixture
    def doomed(self, start_own_server: StartServer) -> Doomed:
        """A server that ends within the test."""
        server = start_own_server(self.kind)
        return Doomed(self.config_of(server), lambda: asyncio.to_thread(server.stop))


class TestMLX(RealServerContract):
    """`mlx_lm.server`, with the model named as the server lists it."""

    kind = MLXServer
    provider = "mlx"
    can = Capabilities(wrong_key=None)

    def model(self, server: ModelServer) -> str:
        """Its folder: that is the name in the list."""
        assert isinstance(server, MLXServer)
        return server.model


class TestMLXWithStrictTemplate(RealServerContract):
    """A template like Gemma's; and a server that can't list models, as nobody downloaded any."""

    kind = MLXServerWithoutCache
    provider = "mlx"
    can = Capabilities(lists_models=False, wrong_key=None)

    def model(self, server: ModelServer) -> str:
        """The folder beside."""
        return "strict"


class TestLlamaCpp(RealServerContract, BoundedContextContract):
    """llama-cpp-python's server as a stranger that speaks like OpenAI."""

    kind = LlamaCppServer
    provider = "openai"
    key = KEY
    can = Capabilities(unknown_model=None)


class TestLlamaCppWithStrictTemplate(TestLlamaCpp):
    """The same with a template like Gemma's, which it refuses with 500."""

    kind = StrictLlamaCppServer


class TestSmallModel(RealServerContract):
    """SmolLM2 on today's llama.cpp, which takes any name for its one model and any key."""

    kind = SmallModelServer
    provider = "openai"
    key = KEY
    can = Capabilities(unknown_model=None, wrong_key=None)

    def model(self, server: ModelServer) -> str:
        """As it is told to call itself."""
        return SmallModelServer.model


class TestLiteLLM(RealServerContract):
    """LiteLLM's proxy; without a database, it answers 400 to a wrong key."""

    kind = LiteLLMServer
    provider = "openai"
    key = KEY
    can = Capabilities(
        honours_cap=False,
        honours_stop=False,
        wrong_key=ValidationError,
    )

    @pytest.fixture
    def slow(self) -> LLMRequest:
        """A model that is told to take its time."""
        return LLMRequest([USER], model="slow")

    @pytest.mark.parametrize(
        ("model", "code", "attempts"),
        [
            ("rate-limited", "rate_limited", 2),
            ("too-long", "validation", 1),
            ("broken", "server_error", 2),
            ("gone", "server_error", 2),
        ],
    )
    async def test_failures_behind_it_are_told_apart(
        self, config: LLMConfig, model: str, code: str, attempts: int
    ) -> None:
        """What fails at the provider behind the proxy is retried only where that may help."""
        hasty = replace(config, max_attempts=2, retry_delay_seconds=0.01)
        async with LLMClient(hasty) as client:
            with pytest.raises(LLMError) as caught:
                await client.generate(LLMRequest([USER], model=model))
        assert (caught.value.code, caught.value.attempts) == (code, attempts)
