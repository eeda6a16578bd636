"""Rules of the addresses: which paths lie under which base."""

from __future__ import annotations

import pytest

from llm_bot.llm_client.adapters import get_adapter
from llm_bot.llm_client.adapters.addresses import Addresses, as_header
from tests.unit.llm_client.support import config, request

LOCAL = ["ollama", "lmstudio", "mlx"]


@pytest.mark.parametrize(
    ("base_url", "under_base", "under_root"),
    [
        ("http://h", "http://h/v1/x", "http://h/x"),
        ("http://h/", "http://h/v1/x", "http://h/x"),
        ("http://h/v1", "http://h/v1/x", "http://h/x"),
        ("http://h/v1//", "http://h/v1/x", "http://h/x"),
        ("http://h/llm", "http://h/llm/v1/x", "http://h/llm/x"),
        ("http://h/llm/v1", "http://h/llm/v1/x", "http://h/llm/x"),
        ("http://h/xv1", "http://h/xv1/v1/x", "http://h/xv1/x"),
        ("http://h:1/v1?key=1", "http://h:1/v1/x?key=1", "http://h:1/x?key=1"),
        ("http://me:pw@h:1", "http://h:1/v1/x", "http://h:1/x"),
        ("http://[::1]:1", "http://[::1]:1/v1/x", "http://[::1]:1/x"),
    ],
)
def test_a_local_server(base_url, under_base, under_root):
    """The address of a local server may end in `/v1` or not."""
    addresses = Addresses(base_url, adds_version=True)
    assert addresses.under_base("/x") == under_base
    assert addresses.under_root("/x") == under_root


@pytest.mark.parametrize(
    ("base_url", "under_base"),
    [
        ("https://h", "https://h/x"),
        ("https://h/v1", "https://h/v1/x"),
        ("https://h/v1/", "https://h/v1/x"),
        (
            "https://h/openai/deployments/d?api-version=1",
            "https://h/openai/deployments/d/x?api-ver",
        ),
    ],
)
def test_a_hosted_server(base_url, under_base):
    """The address of a hosted one is taken as it stands."""
    assert Addresses(base_url, adds_version=False).under_base("/x").startswith(under_base)


@pytest.mark.parametrize("provider", [*LOCAL, "openai"])
@pytest.mark.parametrize("base_url", ["http://h/v1", "http://h/v1/"])
def test_the_paths_of_every_provider(provider, base_url):
    """Chats, models, embeddings and the health check have their own paths."""
    adapter = get_adapter(config(provider=provider, base_url=base_url))
    assert adapter.build_chat(request()).url == "http://h/v1/chat/completions"
    assert adapter.build_embeddings(["a"], "m").url == "http://h/v1/embeddings"
    assert (adapter.build_models().method, adapter.build_models().body) == ("GET", b"")
    assert adapter.build_models().url == "http://h/v1/models"
    health = "http://h/api/tags" if provider == "ollama" else "http://h/v1/models"
    assert adapter.build_health().url == health


@pytest.mark.parametrize("provider", LOCAL)
def test_local_servers_get_their_version(provider):
    """Without `/v1` it is added."""
    adapter = get_adapter(config(provider=provider, base_url="http://h:1", api_key=None))
    assert adapter.build_chat(request()).url == "http://h:1/v1/chat/completions"


def test_as_header():
    """What may not stand in a header is taken out, and what is left ends in no space."""
    assert as_header("a\x00b\u2028 \tc ") == "ab c"
    assert as_header("x" * 199 + " y") == "x" * 199
