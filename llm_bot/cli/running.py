"""Asking a running bot over HTTP, as a command does it: once, and with a clear word if it fails."""

from __future__ import annotations

import http.client
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from llm_bot.config import HealthConfig

TIMEOUT_SECONDS = 3.0

# Addresses to listen on at every interface, and where such a listener is found.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class NoAnswerError(Exception):
    """Nothing came back; the text says from where and why."""


@dataclass(frozen=True)
class Address:
    """Where a bot listens; `token` is sent with each request if there is one."""

    url: str
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, health: HealthConfig) -> Address:
        """Where the bot of that configuration listens.

        Raises:
            NoAnswerError: It doesn't, or nobody knows where.
        """
        if not health.enabled:
            raise NoAnswerError("health.enabled is false, there is nothing to ask")
        if health.port == 0:
            raise NoAnswerError("health.port is 0, which is another one at every start")
        bare = health.host.strip("[]")
        host = _EVERYWHERE.get(bare, bare)
        shown = f"[{host}]" if ":" in host else host
        token = health.token.get_secret_value() if health.token else None
        return cls(f"http://{shown}:{health.port}", token)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of one request.

        Raises:
            NoAnswerError: There is none.
        """
        # Not urllib.request: it would ask a proxy of the environment, and follow redirections.
        url = self.url.rstrip("/") + path
        headers = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        try:
            parts = urlsplit(url)
            if parts.scheme not in _CONNECTIONS or not parts.hostname:
                raise NoAnswerError(f"{url}: isn't an http:// or https:// address")
            connect = _CONNECTIONS[parts.scheme]
            with closing(
                connect(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
            ) as connection:
                target = f"{parts.path}?{parts.query}" if parts.query else parts.path
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                return response.status, response.read()
        except TimeoutError as exc:
            raise NoAnswerError(f"{url}: no answer within {TIMEOUT_SECONDS:g} s") from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise NoAnswerError(f"{url}: {str(exc) or type(exc).__name__}") from exc
