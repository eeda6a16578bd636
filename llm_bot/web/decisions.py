"""`GET /decisions`: what was decided, and why, as a part of the HTTP server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web

from llm_bot.observability.queries import DecisionFilter, DecisionQueries, QueryError
from llm_bot.web.access import Access


class DecisionsRoute:
    """Answers with JSON: `{"decisions": [...]}`, or `{"error": ...}` where it can't."""

    def __init__(self, queries: DecisionQueries, access: Access) -> None:
        self._queries = queries
        self._access = access

    def routes(self) -> Iterable[web.RouteDef]:
        """What the HTTP server is to serve."""
        return [web.get("/decisions", self._decisions)]

    async def close(self) -> None:
        """Nobody stays connected."""

    async def _decisions(self, request: web.Request) -> web.Response:
        self._access.refuse_other_sites(request)
        if not self._access.is_allowed(request):
            return _json(
                {"error": "the token is missing or wrong (Authorization: Bearer)"},
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            decisions = self._queries.decisions(DecisionFilter.of(request.query))
        except QueryError as exc:
            return _json({"error": str(exc)}, 400)
        return _json({"decisions": decisions})


def _json(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        headers=headers,
        content_type="application/json",
    )
