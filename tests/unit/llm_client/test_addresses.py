"""Rules of the addresses: which paths lie under which base."""

from __future__ import annotations

import pytest

from llm_bot.llm_client.adapters import get_adapter
from tests.unit.llm_client.support import config, request


@pytest.mark.parametrize(
    ("base_url", "under_base", "under_root"),
    [
        ("http://h", "http://h/v1", "http://h"),
        ("http://h/", "http://h/v1", "http://h"),
        ("http://h/v1", "http://h/v1", "http://h"),
        ("http://h/v1//", "http://h/v1", "http://h"),
        ("http://h/llm/v1", "http://h/llm/v1", "http://h/llm"),
        ("http://h/xv1", "http://h/xv1/v1", "http://h/xv1"),
        ("http://me:pw@h:1", "http://h:1/v1", "http://h:1"),
        ("http://[::1]:1", "http://[::1]:1/v1", "http://[::1]:1"),
        ("http://h/v1/chat/completions/", "http://h/v1", "http://h"),
        ("http://h/chat/completions", "http://h/v1", "http://h"),
    ],
)
@pytest.mark.parametrize("provider", ["ollama", "lmstudio", "mlx"])
def test_a_local_server(provider, base_url, under_base, under_root):
    """The address of a local server may end in `/v1` or not, and in the path of chats (LLM-23)."""
    adapter = get_adapter(config(provider=provider, base_url=base_url, api_key=None))
    health = f"{under_root}/api/tags" if provider == "ollama" else f"{under_base}/models"
    assert adapter.build_chat(request()).url == f"{under_base}/chat/completions"
    assert adapter.build_embeddings(["a"], "m").url == f"{under_base}/embeddings"
    assert adapter.build_models().url == f"{under_base}/models"
    assert adapter.build_health().url == health
    assert {adapter.build_models().method, adapter.build_health().method} == {"GET"}


@pytest.mark.parametrize(
    ("base_url", "path", "query"),
    [
        ("https://h", "https://h", ""),
        ("https://h/v1/", "https://h/v1", ""),
        ("https://h/api/paas/v4", "https://h/api/paas/v4", ""),
        ("https://h/d/x?api-version=1", "https://h/d/x", "?api-version=1"),
        ("https://h/v1/chat/completions?a=b&c=", "https://h/v1", "?a=b&c="),
    ],
)
def test_a_hosted_server(base_url, path, query):
    """The address of a hosted one is taken as it stands, its query with every request."""
    adapter = get_adapter(config(base_url=base_url))
    assert adapter.build_chat(request()).url == f"{path}/chat/completions{query}"
    assert adapter.build_models().url == f"{path}/models{query}"
