"""nats-py's client, mended where 2.16 does wrong for a daemon that runs for years."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from nats import errors
from nats.aio.client import Client, Srv
from nats.protocol.parser import ERR_RE, PERMISSIONS_ERR

from llm_bot.ports import Event


class PatchedClient(Client):
    """nats-py's client without what 2.16 does wrong for a daemon.

    These are its internals: a test fails when a newer release no longer has them.
    """

    def __init__(
        self, on_refusal: Callable[[str], None], on_undecodable: Callable[[], None]
    ) -> None:
        super().__init__()
        self._on_refusal = on_refusal
        self._on_undecodable = on_undecodable
        self._handlers: dict[int, Callable[[Event], None]] = {}

    async def subscribe_in_place(self, subject: str, handle: Callable[[Event], None]) -> int:
        """`subscribe`, with the reader itself calling `handle`; returns the number for `end`.

        The queue and the task of nats-py take a third of what an event costs in all.
        """
        # Known in advance: an event may come before `subscribe` returns.
        self._handlers[self._sid + 1] = handle
        no_task = asyncio.get_running_loop().create_future()
        raw = await self.subscribe(subject, future=no_task)
        if not self.is_connected:
            self._forget_unsent()  # the reconnect itself asks for it
        return raw._id

    async def end(self, number: int, seconds: float) -> None:
        """Hear nothing more, once all that was published before has come.

        The server gets so many seconds to say so.
        """
        if self.is_connected:
            with contextlib.suppress(errors.Error, OSError):
                await self._send_unsubscribe(number)
                await self.flush(seconds)  # type: ignore[arg-type] # it takes fractions
        self._handlers.pop(number, None)
        self._remove_sub(number)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        """Our event at once, not a `Msg` to copy. One odd subject must not end the reader."""
        handle = self._handlers.get(sid)
        if handle is None:
            return
        fields = await self._process_headers(headers) if headers else None
        try:
            event = Event(subject.decode(), data, fields, reply.decode() if reply else "")
        except UnicodeDecodeError:
            self._on_undecodable()
        else:
            handle(event)

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

    async def _read_loop(self) -> None:
        """Whatever ends the reader: a connection that nobody reads would seem well for 30 s."""
        await super()._read_loop()
        if self.is_connected:
            await self._process_op_err(errors.Error("nats: nobody reads any more"))

    async def _process_pong(self) -> None:
        """A pong that comes when `flush` no longer waits for it would end the reader."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _attempt_reconnect(self) -> None:
        """What no flusher had sent yet would go out after the reconnect, minutes late, and an
        unforeseen error would end the tries."""
        self._forget_unsent()
        while True:
            try:
                return await super()._attempt_reconnect()
            except Exception as exc:  # noqa: BLE001
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
            self._forget_unsent()
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

    def _forget_unsent(self) -> None:
        self._pending = []
        self._pending_data_size = 0
