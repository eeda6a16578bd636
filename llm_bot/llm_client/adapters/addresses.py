"""Where a provider's requests go, and the headers that all of them have."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

from llm_bot.llm_client.config import LLMConfig
from llm_bot.llm_client.redaction import basic_token

CHAT_PATH = "/chat/completions"
MAX_CORRELATION_ID = 200


class Addresses:
    """The URLs of one provider.

    With `adds_version`, `/v1` is added to an address without it. One that names the path of chats
    as well, as examples for curl do, is taken without that.
    """

    def __init__(self, base_url: str, *, adds_version: bool) -> None:
        self._parts = urlsplit(base_url)
        path = self._parts.path.rstrip("/").removesuffix(CHAT_PATH).rstrip("/")
        self._root = path.removesuffix("/v1")
        self._base = f"{self._root}/v1" if adds_version else path

    @property
    def is_this_machine(self) -> bool:
        host = self._parts.hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def under_base(self, path: str) -> str:
        """`path` of the OpenAI-compatible interface."""
        return _url(self._parts, self._base + path)

    def under_root(self, path: str) -> str:
        """`path` of the server's own interface, which stands beside `/v1`."""
        return _url(self._parts, self._root + path)


def _url(parts: SplitResult, path: str) -> str:
    # User and password travel as a header: a URL is what HTTP libraries like to log.
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, path, parts.query, ""))


def fixed_headers(config: LLMConfig) -> Mapping[str, str]:
    """What each request to the provider carries, names in lower case."""
    headers = {
        "accept": "application/json",
        "accept-encoding": "identity",  # answers are small; a compressed one could hide its size
        "content-type": "application/json",
    }
    if (token := basic_token(config)) is not None:
        headers["authorization"] = f"Basic {token}"
    if config.api_key is not None:
        headers["authorization"] = f"Bearer {config.api_key}"
    return headers | {name.lower(): value for name, value in config.extra_headers.items()}


def as_header(text: str) -> str:
    """`text` with what may not stand in a header taken out: it may come from the network."""
    legal = "".join(char for char in text if char.isascii() and char.isprintable())
    return legal.strip()[:MAX_CORRELATION_ID].rstrip()
