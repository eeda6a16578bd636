"""Real model servers as processes on loopback, each with a tiny model or a canned answer."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from tests.real import tiny_model
from tests.real.install import HOME, last_lines
from tests.servers import LOOPBACK, comes_up, free_port

KEY = "sk-test-key-of-no-worth"
START_SECONDS = 90.0
STOP_SECONDS = 10.0
LOGS = HOME / "logs"


class StartError(Exception):
    """A server didn't start; the text says how its log ends."""


class ModelServer(ABC):
    """A process that speaks OpenAI's dialect. Subclasses say how it is started.

    The log is kept in `.real-servers/logs` until `remove` is told that nothing failed.
    """

    name = ""
    ready_path = "/v1/models"

    def __init__(self, python: Path) -> None:
        self.python = python
        self.port = 0
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-test-")
        self.home = Path(self._folder.name)
        self._process: subprocess.Popen[bytes] | None = None
        self.prepare()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}-{os.getpid()}-{self.port}.log"

    def prepare(self) -> None:  # noqa: B027 - most write nothing
        """Write what it needs into `home`."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts it on `port`."""

    def environment(self) -> Mapping[str, str]:
        """What it gets beside the path; no proxies, no keys, nobody's home."""
        return {}

    def start(self) -> None:
        """Start it and wait until it answers."""
        LOGS.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        environment = {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HOME": str(self.home),
            "NO_PROXY": "*",
            **self.environment(),
        }
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command(), cwd=self.home, env=environment, stdout=output, stderr=output
            )
        if not comes_up(self._process, self._answers, START_SECONDS):
            self.stop()
            raise StartError(f"{self.name} didn't start:\n{last_lines(self.log)}")

    def _answers(self) -> bool:
        try:
            headers = {"authorization": f"Bearer {KEY}"}
            with httpx.Client(trust_env=False, timeout=5) as client:
                return client.get(self.url + self.ready_path, headers=headers).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End it, by force if it doesn't go."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self, *, keep_log: bool) -> None:
        """End it and take its files away."""
        self.stop()
        self._folder.cleanup()
        if not keep_log and self.port:
            self.log.unlink(missing_ok=True)


class MLXServer(ModelServer):
    """`mlx_lm.server`. Models are folders: `tiny`, and `strict` with a template like Gemma's."""

    name = "mlx"
    ready_path = "/health"
    has_cache = True

    def prepare(self) -> None:
        tiny_model.write_mlx(self.home / "tiny")
        tiny_model.write_mlx(self.home / "strict", tiny_model.STRICT_TEMPLATE)
        if self.has_cache:
            (self.home / "cache" / "hub").mkdir(parents=True)

    @property
    def model(self) -> str:
        """The model's name as the server lists it."""
        return str((self.home / "tiny").resolve())

    def command(self) -> Sequence[str]:
        address = ["--host", LOOPBACK, "--port", str(self.port)]
        return [str(self.python), "-m", "mlx_lm", "server", "--model", self.model, *address]

    def environment(self) -> Mapping[str, str]:
        return {"HF_HOME": str(self.home / "cache"), "HF_HUB_OFFLINE": "1"}


class MLXServerWithoutCache(MLXServer):
    """The same where nobody has ever downloaded a model: it can't list any."""

    has_cache = False


class LlamaCppServer(ModelServer):
    """llama-cpp-python's server, with a key."""

    name = "llamacpp"
    template = tiny_model.PLAIN_TEMPLATE
    model = "tiny"

    def prepare(self) -> None:
        tiny_model.write_gguf(self.home / "tiny.gguf", self.template)

    def command(self) -> Sequence[str]:
        return [
            *(str(self.python), "-m", "llama_cpp.server"),
            *("--model", "tiny.gguf", "--model_alias", self.model),
            *("--n_ctx", str(tiny_model.CONTEXT_TOKENS), "--api_key", KEY),
            *("--host", LOOPBACK, "--port", str(self.port)),
        ]


class StrictLlamaCppServer(LlamaCppServer):
    """The same with a template that takes strict turns only, like Gemma's."""

    template = tiny_model.STRICT_TEMPLATE


class SmallModelServer(ModelServer):
    """SmolLM2-135M on llama.cpp: a real chat model, and about the smallest."""

    name = "smollm"
    ready_path = "/health"
    model = "smollm2"

    def command(self) -> Sequence[str]:
        script = Path(__file__).with_name("small_model.py")
        return [str(self.python), str(script), str(self.port)]


class LiteLLMServer(ModelServer):
    """LiteLLM's proxy, which answers by itself or fails as it would for a provider behind it."""

    name = "litellm"
    ready_path = "/health/liveliness"
    model = "tiny"
    mocks: Mapping[str, Mapping[str, object]] = {
        "tiny": {"mock_response": "A film about a lighthouse, I think."},
        "slow": {"mock_response": "At last.", "mock_delay": 5},
        "rate-limited": {"mock_response": "litellm.RateLimitError"},
        "too-long": {"mock_response": "litellm.ContextWindowExceededError"},
        "broken": {"mock_response": "litellm.InternalServerError"},
    }

    def prepare(self) -> None:
        models = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_key": "none", **mock},
            }
            for name, mock in self.mocks.items()
        ]
        gone = {"model": "openai/gone", "api_key": "none", "api_base": f"http://{LOOPBACK}:9/v1"}
        models.append({"model_name": "gone", "litellm_params": gone})
        settings = {
            "model_list": models,
            "general_settings": {"master_key": KEY},
            "litellm_settings": {"telemetry": False},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
        (self.home / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML

    def command(self) -> Sequence[str]:
        script = str(self.python.parent / "litellm")
        address = ["--host", LOOPBACK, "--port", str(self.port)]
        return [script, "--config", "config.yaml", *address]

    def environment(self) -> Mapping[str, str]:
        # Else it fetches a list of prices, and reads the .env of whoever starts it.
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
