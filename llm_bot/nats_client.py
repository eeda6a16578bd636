"""`EventBus` on NATS: connects, comes back by itself, and keeps the order of what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import ssl
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from nats import errors
from nats.aio.client import Client, RawCredentials, Server, Srv
from nats.aio.subscription import Subscription
from nats.protocol.parser import ERR_RE, PERMISSIONS_ERR

from llm_bot.bus.replies import PendingReply
from llm_bot.bus.subjects import check_pattern, check_subject, clean_headers, is_logged
from llm_bot.config import NatsConfig
from llm_bot.errors import BusError, BusUnavailableError, NoRespondersError
from llm_bot.ports import Body, Clock, Event, Handler, encode_body

log = logging.getLogger(__name__)

# What waits for one handler at most; more is dropped and counted.
PENDING_MESSAGES = 65_536
PENDING_BYTES = 64 * 1024 * 1024

# Seconds between two tries to connect: doubled each time, of which a random part is waited.
BACKOFF_BASE = 0.5
BACKOFF_CAP = 30.0

# A connection that died without a word is noticed after PING_SECONDS * (UNANSWERED_PINGS + 1).
# Until then `publish` can't know.
PING_SECONDS = 10
UNANSWERED_PINGS = 2

# Longest waits, in seconds: for the server's word that a subscription has ended; for the handlers
# and the last flush when the bus closes; for the socket to close after that.
UNSUBSCRIBE_SECONDS = 2.0
CLOSE_SECONDS = 5.0
DISCONNECT_SECONDS = 1.0

_REFUSAL = re.compile(r'violation for (subscription|publish)\b[^"]*"([^"]*)"', re.IGNORECASE)
_LOGIN_REFUSED = re.compile(r"authoriz|authentic", re.IGNORECASE)
_USER_INFO = re.compile(r"//\S*@")


class NatsBus:
    """Made with the `nats` section of the configuration; `name` is shown in the server's lists.

    `connect` first. After that the connection comes back by itself, for ever, and brings the
    subscriptions along. `publish_refusals` counts what the account may not publish, `undecodable`
    the events dropped because their subject or headers were no text.
    """

    def __init__(
        self, config: NatsConfig, *, clock: Clock, chance: Callable[[], float], name: str
    ) -> None:
        self._config = config
        self._clock = clock
        self._chance = chance
        self._name = name
        self._client: _Client | None = None
        self._subscriptions: set[_NatsSubscription] = set()
        self._replies: dict[str, PendingReply] = {}
        self._inbox: str | None = None
        self._inboxes = itertools.count(1)
        self._up = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._closed = False
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
                servers = ", ".join(map(_without_user, self._config.servers))
                raise BusUnavailableError(
                    f"can't connect to NATS at {servers} ({round_} tries): {_told(failure)}"
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
                fields = {"server": _without_user(server), "error": _told(exc)}
                log.warning("nats.connect_failed", extra=fields)
            else:
                log.info("nats.connected", extra={"server": _without_user(server)})
                return None
        return failure

    async def _open(self, server: str) -> None:
        client = _Client(self._on_refusal, self._on_undecodable)
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                await client.connect([server], **self._options(), **_login(self._config))
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
        return self._chance() * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(tries, 16))

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
        with _translated("flush"):
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

    async def _drain(self, client: _Client) -> None:
        await asyncio.gather(*(each.unsubscribe() for each in tuple(self._subscriptions)))
        if client.is_connected:
            await client.flush(CLOSE_SECONDS)  # type: ignore[arg-type]

    def _require_connection(self) -> _Client:
        if self._client is None or self._closed or not self._client.is_connected:
            raise BusUnavailableError("the bus is closed" if self._closed else "not connected")
        return self._client

    # --- what goes over it ---

    async def subscribe(self, subject: str, handler: Handler) -> _NatsSubscription:
        """Also possible while the connection is away: it is made when it comes back."""
        check_pattern(subject)
        if self._client is None or self._closing is not None:
            raise BusUnavailableError("not connected" if self._client is None else "closed")
        subscription = _NatsSubscription(self, self._client, subject, handler)
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
        check_subject(subject)
        data, cleaned = encode_body(body), clean_headers(headers)
        # nats-py leaves out the headers; the server counts them, and hangs up.
        size = len(data) + _header_size(cleaned)
        if size > client.max_payload:
            raise BusError(f"{size} bytes on {subject}, the server takes {client.max_payload}")
        with _translated(subject):
            await client.publish(subject, data, reply, cleaned)

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
            log.warning(event, extra={"error": _told(error)})

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
        fields = {"server": server and _without_user(server.geturl())}
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
                pending.fail(BusError(f"the account may not publish on {subject}"))
        if is_logged(self.publish_refusals):
            log.warning("nats.publish_refused", extra={"subject": subject, "error": text})

    def _on_undecodable(self) -> None:
        self.undecodable += 1
        if is_logged(self.undecodable):
            log.warning("nats.undecodable", extra={"undecodable": self.undecodable})

    def handler_failed(self, event: Event, error: BaseException) -> None:
        self.handler_errors += 1
        if is_logged(self.handler_errors):
            fields = {"subject": event.subject, "handler_errors": self.handler_errors}
            log.error("bus.handler_failed", exc_info=error, extra=fields)

    def forget(self, subscription: _NatsSubscription) -> None:
        self._subscriptions.discard(subscription)


class _NatsSubscription:
    def __init__(self, bus: NatsBus, client: _Client, subject: str, handler: Handler) -> None:
        self.subject = subject
        self.refused = False
        self._bus = bus
        self._client = client
        self._handler = handler
        self._raw: Subscription | None = None
        self._end: asyncio.Task[None] | None = None

    async def start(self) -> None:
        with _translated(self.subject):
            self._raw = await self._client.subscribe(
                self.subject,
                cb=self._deliver,  # type: ignore[arg-type] # _Client makes events
                pending_msgs_limit=PENDING_MESSAGES,
                pending_bytes_limit=PENDING_BYTES,
            )
        if not self._client.is_connected:
            self._client.forget_unsent()  # the reconnect itself asks for it

    async def unsubscribe(self) -> None:
        if self._raw is None:
            return
        if self._end is None:
            self._end = asyncio.create_task(self._client.end(self._raw))
            self._end.add_done_callback(lambda _: self._bus.forget(self))
        if not self._client.is_current(self._raw):  # a handler can't wait for its own end
            await asyncio.shield(self._end)

    def abandon(self) -> None:
        """Wait no longer for a handler that `unsubscribe` still waits for: cancel it."""
        if self._end is not None:
            self._end.cancel()

    async def _deliver(self, event: Event) -> None:
        try:
            result = self._handler(event)
            if result is not None:
                await result
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the handler waited for was cancelled. nats-py would go deaf.
            self._bus.handler_failed(event, exc)
        except Exception as exc:  # noqa: BLE001 - a handler must not end the stream
            self._bus.handler_failed(event, exc)


class _Client(Client):
    """nats-py's client without what 2.16 does wrong for a daemon.

    These are its internals: a test fails when a newer release no longer has them.
    """

    def __init__(
        self, on_refusal: Callable[[str], None], on_undecodable: Callable[[], None]
    ) -> None:
        super().__init__()
        self._on_refusal = on_refusal
        self._on_undecodable = on_undecodable

    def _build_message(
        self,
        sid: int,  # noqa: ARG002
        subject: bytes,
        reply: bytes,
        data: bytes,
        headers: dict[str, str] | None,
    ) -> Event | None:
        """Our event at once, not a `Msg` to copy. One odd subject must not end the reader."""
        try:
            return Event(subject.decode(), data, headers, reply.decode())
        except UnicodeDecodeError:
            self._on_undecodable()
            return None

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """Odd headers end the reader, too."""
        if not headers:
            return None
        try:
            return await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            self._on_undecodable()
            return None

    async def _process_err(self, err_msg: str) -> None:
        """Errors of the server but refusals would close the client for good: reconnect instead.

        Refusals come in lower case, and two subjects may differ in that alone: the parser still
        holds the line as it was sent.
        """
        if PERMISSIONS_ERR not in err_msg:
            error = errors.Error(f"nats: {err_msg}")
            await self._error_cb(error)
            await self._process_op_err(error)
            return
        line = ERR_RE.match(self._ps.buf)
        self._on_refusal(line[1].decode(errors="replace") if line else err_msg)

    async def _attempt_reconnect(self) -> None:
        """What no flusher had sent yet would go out after the reconnect, minutes late, and an
        unforeseen error would end the tries."""
        self.forget_unsent()
        while True:
            try:
                return await super()._attempt_reconnect()
            except Exception as exc:  # noqa: BLE001
                self._status = Client.RECONNECTING
                await self._error_cb(exc)

    async def _connect_to_server(self, s: Srv) -> None:
        """A try to reconnect that failed after the socket was open would leave it open."""
        if self._transport:
            self._transport.close()
        await super()._connect_to_server(s)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        """A ping would overtake the commands that wait for the flusher, and `flush` come early."""
        if self._pending and self._transport is not None:
            self._transport.writelines(self._pending)
            self.forget_unsent()
        await super()._send_ping(future)

    def _connect_command(self) -> bytes:
        """The login would go out in the clear where a server offers no encryption."""
        scheme = self._current_server.uri.scheme if self._current_server else ""
        wanted = scheme == "tls" or (scheme == "nats" and "tls" in self.options)
        if wanted and not self._server_info.get("tls_required"):
            raise errors.SecureConnWantedError
        return super()._connect_command()

    def require_connection(self) -> None:
        """For after `connect`: nats-py overlooks a server that hangs up in its last step."""
        if not self.is_connected:
            raise errors.UnexpectedEOF

    def forget_unsent(self) -> None:
        self._pending = []
        self._pending_data_size = 0

    def is_current(self, raw: Subscription) -> bool:
        """Whether the caller is the handler of `raw`."""
        return asyncio.current_task() is raw._wait_for_msgs_task

    async def end(self, raw: Subscription) -> None:
        """`raw.drain()` that works while the connection is away, and outlives its loss."""
        if self.is_connected:
            with contextlib.suppress(errors.Error, OSError):
                await self._send_unsubscribe(raw._id)
                await self.flush(UNSUBSCRIBE_SECONDS)  # type: ignore[arg-type]
        self._remove_sub(raw._id)
        worker = cast("asyncio.Task[None]", raw._wait_for_msgs_task)
        handled = asyncio.create_task(raw._pending_queue.join())
        try:
            await asyncio.wait({handled, worker}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handled.cancel()
            raw._stop_processing()


def _login(config: NatsConfig) -> dict[str, Any]:
    """Who we are, for `Client.connect`. Files are read here: in a credentials file without a
    token nats-py looks for it for ever."""
    login: dict[str, Any] = {"user": config.user}
    if config.password is not None:
        login["password"] = config.password.get_secret_value()
    if config.token is not None:
        login["token"] = config.token.get_secret_value()
    if config.credentials_file is not None:
        text = Path(config.credentials_file).read_text(encoding="utf-8")
        if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
            raise BusError(f"{config.credentials_file} is not a NATS credentials file")
        login["user_credentials"] = RawCredentials(text)
    if config.nkey_seed_file is not None:
        login["nkeys_seed_str"] = Path(config.nkey_seed_file).read_text(encoding="utf-8")
    if (context := _tls_context(config)) is not None:
        login["tls"] = context
    return login


def _tls_context(config: NatsConfig) -> ssl.SSLContext | None:
    tls = config.tls
    if tls.ca_file is None and tls.cert_file is None:
        return None  # for tls:// addresses nats-py makes one that trusts the system's authorities
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _told(error: Exception) -> str:
    """`error` for people to read, without user names or passwords."""
    text = _USER_INFO.sub("//", str(error)) or type(error).__name__
    if _LOGIN_REFUSED.search(text):
        return f"the server refused the login: {text}"
    return "no answer in time" if isinstance(error, TimeoutError) else text


def _header_size(headers: Mapping[str, str] | None) -> int:
    if headers is None:
        return 0
    lines = (len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return len(b"NATS/1.0\r\n\r\n") + sum(lines)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Exceptions of nats-py as ours."""
    try:
        yield
    except (
        errors.ConnectionClosedError,
        errors.ConnectionDrainingError,
        errors.ConnectionReconnectingError,
        errors.OutboundBufferLimitError,
        errors.StaleConnectionError,
    ) as exc:
        raise BusUnavailableError(f"{what}: {exc}") from exc
    except errors.Error as exc:
        raise BusError(f"{what}: {exc}") from exc
    except OSError as exc:
        raise BusUnavailableError(f"{what}: {exc}") from exc


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
        log.info("nats.close_incomplete", extra={"error": str(problem)})
