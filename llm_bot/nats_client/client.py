"""`Bus` on NATS: connects, comes back by itself, and keeps the order of what it hears."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from nats import errors
from nats.aio.client import Server

from llm_bot.bus.base import PENDING_MESSAGES, BaseBus, QueuedSubscription
from llm_bot.bus.subjects import outgoing
from llm_bot.config import NatsConfig
from llm_bot.errors import BusError, BusUnavailableError
from llm_bot.nats_client import key_value
from llm_bot.nats_client.connection import PatchedClient
from llm_bot.nats_client.errors import describe_error, translated, without_user
from llm_bot.nats_client.login import login_options
from llm_bot.nats_client.requests import Requests
from llm_bot.ports import Body, Clock, Event, Handler

log = logging.getLogger(__name__)

# Seconds between two tries to connect: doubled each time, of which a random part is waited.
BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0

# A connection that died without a word is noticed after PING_SECONDS * (UNANSWERED_PINGS + 1).
# Until then `publish` can't know.
PING_SECONDS = 10
UNANSWERED_PINGS = 2

# Longest waits, in seconds: for the server's word that a subscription has ended, or that it has all
# when the bus closes; for the socket to close after that.
UNSUBSCRIBE_SECONDS = 2.0
DISCONNECT_SECONDS = 1.0

_REFUSAL = re.compile(r'violation for (subscription|publish)\b[^"]*"([^"]*)"', re.IGNORECASE)


class NatsBus(BaseBus):
    """Made with the `nats` section of the configuration; `name` is shown in the server's lists.

    `connect` first. After that the connection comes back by itself, for ever, and brings the
    subscriptions along. `publish_refusals` counts what the account may not publish, `undecodable`
    the events dropped because their subject or headers were no text.
    """

    def __init__(
        self, config: NatsConfig, *, clock: Clock, rng: Callable[[], float], name: str
    ) -> None:
        super().__init__(PENDING_MESSAGES)
        self._config = config
        self._clock = clock
        self._rng = rng
        self._name = name
        self._client: PatchedClient | None = None
        self._numbers: dict[QueuedSubscription, int] = {}
        self._requests: Requests | None = None
        self._reconnect_tries = 0
        self.publish_refusals = 0
        self.undecodable = 0

    @property
    def is_connected(self) -> bool:
        return self._client is not None and not self._closed and self._client.is_connected

    # --- the connection ---

    async def connect(self) -> None:
        """Connect, in at most `max_reconnect_attempts` rounds over the servers (0: no limit).

        Raises `BusUnavailableError`, with the servers and the last error, after the last round.
        """
        limit = self._config.max_reconnect_attempts
        for round_ in itertools.count(1):
            failure = await self._try_servers()
            self.require_open()
            if failure is None:
                return
            if round_ == limit:
                servers = ", ".join(map(without_user, self._config.servers))
                where = f"can't connect to NATS at {servers} (tries: {round_})"
                raise BusUnavailableError(f"{where}: {describe_error(failure)}") from failure
            await self._clock.sleep(self._backoff(round_ - 1))

    async def _try_servers(self) -> Exception | None:
        """Connect to the first server that takes us; the last one's error if none does."""
        failure: Exception = errors.NoServersError()
        for server in self._config.servers:
            try:
                await self._open(server)
            # Key files that can't be read, certificates that don't hold, a stranger on the port:
            # whatever it was, it counts as a try, and the last one is told.
            except Exception as exc:  # noqa: BLE001
                failure = exc
                fields = {"server": without_user(server), "error": describe_error(exc)}
                log.warning("nats.connect_failed", extra=fields)
            else:
                log.info("nats.connected", extra={"server": without_user(server)})
                return None
        return failure

    async def _open(self, server: str) -> None:
        client = PatchedClient(self._on_refusal, self._on_undecodable)
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                await client.connect([server], **self._options(), **login_options(self._config))
            client.require_connection()
            client.set_server_pool(list(self._config.servers))
        except BaseException:
            await _bounded(client.close(), DISCONNECT_SECONDS)
            raise
        if self._closing is None:
            self._client = client
            self._up.set()
        else:
            await _bounded(client.close(), DISCONNECT_SECONDS)

    def _options(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_disconnected,
            "reconnected_cb": self._on_reconnected,
            "reconnect_to_server_handler": self._next_server,
            "connect_timeout": self._config.connect_timeout,
            "max_reconnect_attempts": -1,
            "ping_interval": PING_SECONDS,
            "max_outstanding_pings": UNANSWERED_PINGS,
            "pending_size": 0,  # while away `publish` raises; nothing is sent later
        }

    def _backoff(self, tries: int) -> float:
        return self._rng() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(tries, 16))

    def _next_server(
        self, servers: list[Server], _info: dict[str, Any]
    ) -> tuple[Server | None, float]:
        """Where to reconnect to, and after how many seconds: all in turn, each round later."""
        round_, turn = divmod(self._reconnect_tries, len(servers))
        self._reconnect_tries += 1
        return servers[turn], self._backoff(round_)

    async def flush(self, timeout: float = 5.0) -> None:
        client = self._require_client()
        with translated("flush"):
            await client.flush(timeout)  # type: ignore[arg-type]

    async def _disconnect(self) -> None:
        if self._client is not None:
            if self._client.is_connected:
                await _bounded(self.flush(UNSUBSCRIBE_SECONDS), UNSUBSCRIBE_SECONDS)
            self._closed = True
            await _bounded(self._client.close(), DISCONNECT_SECONDS)

    def _require_client(self) -> PatchedClient:
        self.require_connection()
        return cast("PatchedClient", self._client)

    # --- what goes over it ---

    async def subscribe(self, subject: str, handler: Handler) -> QueuedSubscription:
        """Also possible while the connection is away: it is made when it comes back."""
        if self._client is None:
            raise BusUnavailableError("not connected")
        subscription = await super().subscribe(subject, handler)
        with translated(subject):
            number = await self._client.subscribe_in_place(subject, subscription.handle)
        self._numbers[subscription] = number
        return subscription

    async def leave(self, subscription: QueuedSubscription) -> None:
        """Returns when all that was published before has come."""
        number = self._numbers.pop(subscription, None)
        if number is not None and self._client is not None:
            await self._client.end(number, UNSUBSCRIBE_SECONDS)
        await super().leave(subscription)

    async def publish(
        self,
        subject: str,
        data: Body,
        headers: Mapping[str, str] | None = None,
        *,
        reply: str = "",
    ) -> None:
        client = self._require_client()
        event = outgoing(subject, data, headers)
        # nats-py leaves out the headers; the server counts them, and hangs up.
        size = len(event.data) + _header_size(event.headers)
        if size > client.max_payload:
            raise BusError(f"{size} bytes on {subject}, the server takes {client.max_payload}")
        headers = None if event.headers is None else dict(event.headers)
        with translated(subject):
            await client.publish(subject, event.data, reply, headers)

    async def request(
        self,
        subject: str,
        data: Body,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        accept: Callable[[Event], bool] | None = None,
    ) -> Event:
        client = self._require_client()
        if self._requests is None:
            self._requests = Requests(client.new_inbox())  # before the await: one is enough
            await self.subscribe(f"{self._requests.inbox}.*", self._requests.handle)
        with self._requests.expect(subject, accept) as (reply_to, pending):
            await self.publish(subject, data, headers, reply=reply_to)
            return await pending.wait(timeout)

    async def read_value(self, bucket: str, key: str, *, timeout: float) -> bytes | None:
        self.require_connection()
        return await key_value.read_value(self, bucket, key, timeout=timeout)

    # --- what nats-py tells ---

    async def _on_error(self, error: Exception) -> None:
        if self._client is None:
            raise error  # ends this try to connect
        if not self._closed:
            event = "nats.error" if self._client.is_connected else "nats.reconnect_failed"
            log.warning(event, extra={"error": describe_error(error)})

    def note_dropped(self, event: Event) -> None:
        """There was no place for `event`."""
        self.dropped += 1
        log.warning("nats.dropped", extra={"subject": event.subject, "dropped": self.dropped})

    async def _on_disconnected(self) -> None:
        if self._client is None or self._closing is not None:
            return
        self._up.clear()
        for subscription in self._subscriptions:
            subscription.refused = False  # asked anew when the connection is back
        log.warning("nats.disconnected")

    async def _on_reconnected(self) -> None:
        self.reconnects += 1
        self._reconnect_tries = 0
        self._up.set()
        server = self._client and self._client.connected_url
        fields = {"server": server and without_user(server.geturl())}
        log.info("nats.reconnected", extra=fields | {"reconnects": self.reconnects})

    def _on_refusal(self, text: str) -> None:
        found = _REFUSAL.search(text)
        kind, subject = found.groups() if found else ("", "")
        if kind.lower() == "subscription":
            for subscription in self._subscriptions:
                if subscription.subject == subject:
                    subscription.refused = True
            log.warning("nats.subscription_refused", extra={"subject": subject})
            return
        self.publish_refusals += 1
        if self._requests is not None:
            self._requests.refuse(subject)
        log.warning("nats.publish_refused", extra={"subject": subject, "error": text})

    def _on_undecodable(self) -> None:
        self.undecodable += 1
        log.warning("nats.undecodable", extra={"undecodable": self.undecodable})


def _header_size(headers: Mapping[str, str] | None) -> int:
    if headers is None:
        return 0
    lines = (len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return len(b"NATS/1.0\r\n\r\n") + sum(lines)


async def _bounded(work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Let `work` take that long; neither its failure nor its slowness matters to the caller.

    Not `asyncio.timeout`: parts of nats-py swallow being cancelled, and would then go on waiting.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()


def _report(task: asyncio.Task[None]) -> None:
    problem = "time ran out" if task.cancelled() else task.exception()
    if problem is not None:
        log.debug("nats.close_incomplete", extra={"error": str(problem)})
