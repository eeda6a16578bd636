"""The first provider fails, another answers: a real daemon, NATS, and two HTTP servers."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import yaml

from tests.daemon import Daemon, Peer, settings
from tests.servers import NatsServer
from tests.unit.llm_client.scripted_server import Answer, ScriptedServer, chat


@pytest.fixture
async def second():
    async with ScriptedServer() as server:
        yield server


def with_fallback(
    server: NatsServer, model: ScriptedServer, second: ScriptedServer, **first: Any
) -> dict[str, Any]:
    """A daemon whose second provider is an Ollama with a model and parameters of its own."""
    whole: dict[str, Any] = settings(nats=server.url, model=model.url)
    whole["llm_api"] |= {
        "retry_attempts": 1,
        "retry_delay_seconds": 0.05,
        "fallbacks": [
            {
                "provider": "ollama",
                "base_url": second.url,
                "model": "tiny",
                "parameters": {"temperature": 0.1, "max_tokens": 33},
            }
        ],
        **first,
    }
    return whole


async def test_a_fallback_answers(tmp_path, nats_server, model, second):
    """Tried twice, then the next provider with its own model and parameters; all of it told."""
    model.script(Answer(503), Answer(503))
    second.script(chat("Second best."))
    whole = with_fallback(nats_server, model, second)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        assert peer.texts == ["Second best."]
        assert await daemon.decided(1) == {"replied": 1}

        asked = second.requests[0]
        assert asked.path == "/v1/chat/completions"
        assert (asked.json["model"], asked.json["max_tokens"]) == ("tiny", 33)
        assert "authorization" not in asked.headers
        assert daemon.metric("llm_retries_total", provider="openai") == 1
        assert daemon.metric("llm_fallbacks_total", provider="ollama") == 1
        assert daemon.health()["providers"] == {"openai": "down", "ollama": "up"}
        assert daemon.health()["llm_api_available"]
        (sent,) = await daemon.logs("reply.sent")
        assert (sent["provider"], sent["attempts"]) == ("ollama", 3)


async def test_a_wrong_key_rests_the_provider(tmp_path, nats_server, model, second):
    """After a 401 the first provider is left in peace; the next line goes past it at once, and
    /health says why (OBS-18)."""
    model.script(Answer(401, {"error": {"message": "no such key"}}))
    second.script(chat("One."), chat("Two."))
    whole = with_fallback(nats_server, model, second)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        health = daemon.health()
        assert health["providers"] == {"openai": "cooling", "ollama": "up"}
        assert health["provider_problems"] == {"openai": "openai: no such key (HTTP 401)"}
        assert (health["status"], health["llm_api_available"]) == ("degraded", True)
        await peer.say("bob", "RigBot: and me?")
        await peer.hears(2)
        assert peer.texts == ["One.", "Two."]
        assert len(model.requests) == 1


async def test_a_refused_parameter_is_left_out(tmp_path, nats_server, model, second):
    """The server minds a parameter once: it is asked again without, and from then on."""
    refusal = {
        "error": {
            "message": "Unsupported parameter: 'presence_penalty' is not supported.",
            "param": "presence_penalty",
            "code": "unsupported_parameter",
        }
    }
    model.script(Answer(400, refusal), chat("One."), chat("Two."))
    whole = with_fallback(nats_server, model, second)
    whole["llm_api"]["parameters"] = {"presence_penalty": 0.3}
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await peer.hears(1)
        await peer.say("bob", "RigBot: and me?")
        await peer.hears(2)
        sent = ["presence_penalty" in request.json for request in model.requests]
        assert sent == [True, False, False]
        (adapted,) = await daemon.logs("llm.request_adapted")
        assert (adapted["provider"], adapted["dropped"]) == ("openai", ["presence_penalty"])
        quirks = {"openai": {"stand-in": {"dropped": ["presence_penalty"]}}}
        assert daemon.health()["provider_quirks"] == quirks
        statuses = {
            labels["status"]: value
            for labels, value in daemon.metrics()["llm_bot_llm_requests_total"]
        }
        assert statuses == {"success": 2.0}


async def test_when_all_fail(tmp_path, nats_server, model, second):
    """Silence, and a log line with each server's words, but for what they quote of the chat."""
    model.script(*[Answer(500, "no room for RigBot: what a film is this") for _ in range(2)])
    second.script(Answer(404, {"error": "model 'tiny' not found"}))
    whole = with_fallback(nats_server, model, second)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: what a film is this?")
        assert await daemon.decided(1) == {"llm_failed": 1}
        (failed,) = await daemon.logs("llm.failed")
        assert failed["code"] == "all_failed"
        assert failed["attempts"] == 3
        assert "openai: no room for… (HTTP 500)" in failed["error"]
        assert "ollama:" in failed["error"]
        assert daemon.health()["providers"] == {"openai": "down", "ollama": "cooling"}


async def test_a_reload_forgets_a_rest(tmp_path, nats_server, model, second):
    """A key that is put right works at once after SIGHUP, whatever the old one had earned
    (LLM-13).
    """
    model.script(Answer(401), chat("Welcome."))
    second.script(Answer(401))
    whole = with_fallback(nats_server, model, second)
    async with Daemon(tmp_path, whole) as daemon, Peer(nats_server.url) as peer:
        await peer.say("alice", "RigBot: hello?")
        await daemon.decided(1)
        assert daemon.health()["status"] == "degraded"
        assert set(daemon.health()["providers"].values()) == {"cooling"}
        whole["llm_api"]["api_key"] = "sk-the-right-one"
        daemon.config_path.write_text(yaml.safe_dump(whole), encoding="utf-8")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logs("config.reloaded")
        assert daemon.health()["status"] == "healthy"
        assert set(daemon.health()["providers"].values()) == {"up"}
        await peer.say("bob", "RigBot: hello?")
        await peer.hears(1)
        assert peer.texts == ["Welcome."]
        assert model.requests[-1].headers["authorization"] == "Bearer sk-the-right-one"
