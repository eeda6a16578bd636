"""`Bus` on NATS: connects, comes back by itself, and keeps the order of what it hears."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from nats import errors
from nats.aio.client import Server

from llm_bot.bus.replies import PendingReply
from llm_bot.bus.subjects import check_pattern, is_logged, outgoing
from llm_bot.config import NatsConfig
from llm_bot.errors import (
    BusError,
    BusUnavailableError,
    NoRespondersError,
    NotPermittedError,
)
from llm_bot.nats_client.connection import PatchedClient
from llm_bot.nats_client.errors import told, translated, without_user
from llm_bot.nats_client.key_value import (
    can_exist,
    direct_subject,
    read_direct_answer,
    read_stream_answer,
    stream_request,
)
from llm_bot.nats_client.login import login_options
from llm_bot.nats_client.subscription import NatsSubscription
from llm_bot.ports import Body, Clock, Event, Handler

log = logging.getLogger(__name__)

# Seconds between two tries to connect: doubled each time, of which a random part is waited.
BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0

# A connection that died without a word is noticed after PING_SECONDS * (UNANSWERED_PINGS + 1).
# Until then `publish` can't know.
PING_SECONDS = 10
UNANSWERED_PINGS = 2

# Longest waits, in seconds: for the handlers and the last flush when the bus closes; for the socket
# to close after that.
CLOSE_SECONDS = 5.0
DISCONNECT_SECONDS = 1.0

# Of refused publishing the first of so many subjects is logged, and then each thousandth refusal: a
# heartbeat that isn't allowed must not hide that replies aren't either.
REFUSED_SUBJECTS_TOLD = 20
REFUSALS_BETWEEN_LINES = 1_000

_REFUSAL = re.compile(r'violation for (subscription|publish)\b[^"]*"([^"]*)"', re.IGNORECASE)


class NatsBus:
    """Made with the `nats` section of the configuration; `name` is shown in the server's lists.

    `connect` first. After that the connection comes back by itself, for ever, and brings the
    subscriptions along. `publish_refusals` counts what the account may not publish, `undecodable`
    the events dropped because their subject or headers were no text.
    """

    def __init__(
        self, config: NatsConfig, *, clock: Clock, rng: Callable[[], float], name: str
    ) -> None:
        self._config = config
        self._clock = clock
        self._rng = rng
        self._name = name
        self._client: PatchedClient | None = None
        self._subscriptions: set[NatsSubscription] = set()
        self._replies: dict[str, PendingReply] = {}
        self._inbox: str | None = None
        self._inboxes = itertools.count(1)
        self._up = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
        self._refused_subjects: set[str] = set()
        self._reconnect_tries = 0
        self._reconnects = 0
        self.dropped = 0
        self.handler_errors = 0
        self.publish_refusals = 0
        self.undecodable = 0

    @property
    def is_connected(self) -> bool:
        return self._client is not None and not self._closed and self._client.is_connected

    @property
    def reconnects(self) -> int:
        return self._reconnects

    # --- the connection ---

    async def connect(self) -> None:
        """Connect, in at most `max_reconnect_attempts` rounds over the servers (0: no limit).

        Raises `BusUnavailableError`, with the servers and the last error, after the last round.
        """
        limit = self._config.max_reconnect_attempts
        for round_ in itertools.count(1):
            failure = await self._try_servers()
            if self._closing is not None:
                raise BusUnavailableError("the bus is closed")
            if failure is None:
                return
            if round_ == limit:
                servers = ", ".join(map(without_user, self._config.servers))
                raise BusUnavailableError(
                    f"can't connect to NATS at {servers} (tries: {round_}): {told(failure)}"
                ) from failure
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
                fields = {"server": without_user(server), "error": told(exc)}
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

    async def wait_connected(self) -> None:
        await self._up.wait()
        if self._closing is not None:
            raise BusUnavailableError("the bus is closed")

    async def flush(self, timeout: float = 5.0) -> None:
        client = self._require_connection()
        with translated("flush"):
            await client.flush(timeout)  # type: ignore[arg-type]

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._client is not None:
            await _bounded(self._drain(self._client), CLOSE_SECONDS)
            self._closed = True
            for subscription in tuple(self._subscriptions):
                subscription.abandon()
            self._client.forget_unsent()
            await _bounded(self._client.close(), DISCONNECT_SECONDS)
        self._closed = True
        self._up.set()  # whoever waits for a connection need not any longer

    async def _drain(self, client: PatchedClient) -> None:
        await asyncio.gather(*(each.unsubscribe() for each in tuple(self._subscriptions)))
        if client.is_connected:
            await client.flush(CLOSE_SECONDS)  # type: ignore[arg-type]

    def _require_connection(self) -> PatchedClient:
        if self._client is None or self._closed or not self._client.is_connected:
            raise BusUnavailableError("the bus is closed" if self._closed else "not connected")
        return self._client

    # --- what goes over it ---

    async def subscribe(self, subject: str, handler: Handler) -> NatsSubscription:
        """Also possible while the connection is away: it is made when it comes back."""
        check_pattern(subject)
        if self._client is None or self._closing is not None:
            raise BusUnavailableError("not connected" if self._client is None else "closed")
        subscription = NatsSubscription(
            self._client,
            subject,
            handler,
            on_failure=self._handler_failed,
            on_end=self._subscriptions.discard,
        )
        self._subscriptions.add(subscription)
        try:
            await subscription.start()
        except BaseException:
            self._subscriptions.discard(subscription)
            raise
        return subscription

    async def publish(
        self, subject: str, data: Body, headers: Mapping[str, str] | None = None
    ) -> None:
        await self._publish(subject, data, headers)

    async def _publish(
        self, subject: str, body: Body, headers: Mapping[str, str] | None, reply: str = ""
    ) -> None:
        client = self._require_connection()
        event = outgoing(subject, body, headers)
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
        inbox = f"{await self._open_inbox()}.{next(self._inboxes)}"
        pending = self._replies[inbox] = PendingReply(subject, accept)
        try:
            await self._publish(subject, data, headers, inbox)
            return await pending.wait(timeout)
        finally:
            del self._replies[inbox]

    async def read_value(self, bucket: str, key: str, *, timeout: float) -> bytes | None:
        """Two plain requests at most. nats-py's own reading needs one more permission, and where
        the account hasn't got it, waits for an answer until its time is over."""
        self._require_connection()
        if not can_exist(bucket, key):
            return None
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout
        subject, body = stream_request(bucket, key)
        try:
            try:
                return read_stream_answer(await self.request(subject, body, timeout=timeout))
            except NotPermittedError:
                # An account may be let read this one key, and nothing else of the stream.
                direct, left = direct_subject(bucket, key), max(0.0, ends - loop.time())
                return read_direct_answer(await self.request(direct, b"", timeout=left))
        except NoRespondersError:
            return None  # no JetStream here

    async def _open_inbox(self) -> str:
        """The start of the subjects that answers come to; one subscription hears them all."""
        client = self._require_connection()
        if self._inbox is None:
            self._inbox = client.new_inbox()  # before the await: one is enough
            await self.subscribe(f"{self._inbox}.*", self._on_reply)
        return self._inbox

    def _on_reply(self, event: Event) -> None:
        pending = self._replies.get(event.subject)
        if pending is None:
            return  # too late: nobody waits any longer
        if not event.data and event.headers is not None and event.headers.get("Status") == "503":
            pending.fail(NoRespondersError(f"nobody listens on {pending.subject}"))
        else:
            pending.offer(event)

    # --- what nats-py tells ---

    async def _on_error(self, error: Exception) -> None:
        if self._client is None:
            raise error  # ends this try to connect
        if isinstance(error, errors.SlowConsumerError):
            self.dropped += 1
            if is_logged(self.dropped):
                fields = {"subject": error.subject, "dropped": self.dropped}
                log.warning("nats.dropped", extra=fields)
        elif not self._closed:
            event = "nats.error" if self._client.is_connected else "nats.reconnect_failed"
            log.warning(event, extra={"error": told(error)})

    async def _on_disconnected(self) -> None:
        if self._client is None or self._closing is not None:
            return
        self._up.clear()
        for subscription in self._subscriptions:
            subscription.refused = False  # asked anew when the connection is back
        log.warning("nats.disconnected")

    async def _on_reconnected(self) -> None:
        self._reconnects += 1
        self._reconnect_tries = 0
        self._up.set()
        server = self._client and self._client.connected_url
        fields = {"server": server and without_user(server.geturl())}
        log.info("nats.reconnected", extra=fields | {"reconnects": self._reconnects})

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
        for pending in self._replies.values():
            if pending.subject == subject:
                pending.fail(NotPermittedError(f"the account may not publish on {subject}"))
        is_new = subject not in self._refused_subjects
        if is_new and len(self._refused_subjects) < REFUSED_SUBJECTS_TOLD:
            self._refused_subjects.add(subject)
            is_told = True
        else:
            is_told = self.publish_refusals % REFUSALS_BETWEEN_LINES == 0
        if is_told:
            log.warning("nats.publish_refused", extra={"subject": subject, "error": text})

    def _on_undecodable(self) -> None:
        self.undecodable += 1
        if is_logged(self.undecodable):
            log.warning("nats.undecodable", extra={"undecodable": self.undecodable})

    def _handler_failed(self, event: Event, error: BaseException) -> None:
        self.handler_errors += 1
        if is_logged(self.handler_errors):
            fields = {"subject": event.subject, "handler_errors": self.handler_errors}
            log.error("bus.handler_failed", exc_info=error, extra=fields)


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
