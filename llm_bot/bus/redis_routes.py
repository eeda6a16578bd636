"""Who hears what on Redis: each subscription on one route, so that it hears a message once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from llm_bot.bus.queue import QueuedSubscription
from llm_bot.bus.redis_line import LineLostError, RefusedError
from llm_bot.bus.redis_link import RedisLink, Route
from llm_bot.bus.subjects import matches
from llm_bot.ports import Event

log = logging.getLogger(__name__)

# Longest waits, in seconds, for the server's word that a subscription has begun, or ended.
SUBSCRIBE_SECONDS = 5.0
UNSUBSCRIBE_SECONDS = 2.0


class RedisRoutes:
    """Redis delivers once for each route that a message fits; subscriptions share routes."""

    def __init__(self) -> None:
        self._routes: dict[Route, list[QueuedSubscription]] = {}
        self._leaving: set[QueuedSubscription] = set()

    def __iter__(self) -> Iterator[QueuedSubscription]:
        for subscriptions in self._routes.values():
            yield from subscriptions

    def deliver(self, route: Route, event: Event) -> None:
        """Hand what came on `route` to whoever wants it."""
        for subscription in self._routes.get(route, ()):
            if matches(subscription.subject, event.subject):
                subscription.put(event)

    async def hear_all(self, link: RedisLink) -> None:
        """Subscribe on a new link to all that is wanted. Raises `LineLostError`."""
        heard: set[Route] = set()
        while heard != (wanted := set(self._routes)):  # which may change meanwhile
            await asyncio.gather(
                *(self._hear(link, route) for route in wanted - heard),
                *(link.leave(route) for route in heard - wanted),
            )
            heard = wanted

    async def join(self, subscription: QueuedSubscription, link: RedisLink | None) -> None:
        """Let it hear what is published from now on; without a link, once there is one."""
        route = Route.to(subscription.subject)
        self._routes.setdefault(route, []).append(subscription)
        if link is not None:
            # Asked for even if it is heard already: that may not have been confirmed yet.
            with contextlib.suppress(LineLostError, TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await self._hear(link, route)

    async def _hear(self, link: RedisLink, route: Route) -> None:
        try:
            await link.hear(route)
        except RefusedError as exc:
            for subscription in self._routes.get(route, ()):
                subscription.refused = True
            fields = {"subject": route.name, "error": str(exc)}
            log.warning("redis.subscription_refused", extra=fields)

    def forget_refusals(self) -> None:
        """They are asked for anew when the connection is back."""
        for subscription in self:
            subscription.refused = False

    async def leave(self, subscription: QueuedSubscription, link: RedisLink | None) -> None:
        """Let it hear nothing more, once all that was published before has come."""
        route = Route.to(subscription.subject)
        self._leaving.add(subscription)
        staying = set(self._routes.get(route, ())) - self._leaving
        try:
            if link is not None:
                with contextlib.suppress(LineLostError, RefusedError, TimeoutError):
                    async with asyncio.timeout(UNSUBSCRIBE_SECONDS):
                        await (link.catch_up() if staying else link.leave(route))
        finally:
            self.forget(subscription)

    def forget(self, subscription: QueuedSubscription) -> None:
        """Take it off at once."""
        self._leaving.discard(subscription)
        route = Route.to(subscription.subject)
        subscriptions = self._routes.get(route, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._routes[route]
