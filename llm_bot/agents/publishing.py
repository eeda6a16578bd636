"""Sends insights to whoever listens on the bus, beside the room and as slowly as the bus is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from llm_bot.agents.insight import errors_logged_once
from llm_bot.agents.schemas import Insight
from llm_bot.errors import BusError
from llm_bot.insights.stream_buffer import StreamBuffer, StreamTrack

log = logging.getLogger(__name__)


def insights_subject(channel: str) -> str:
    """Where the insights about a room go; in lower case, as subjects mind it and rooms don't.

    >>> insights_subject("FilmNight")
    'llm_bot.insights.filmnight'
    """
    return f"llm_bot.insights.{channel.lower()}"


async def publish_insights(
    buffer: StreamBuffer,
    send: Callable[[bytes], Awaitable[None]],
    *,
    is_wanted: Callable[[], bool],
) -> None:
    """Send each insight as JSON as it comes, until cancelled; none about a private message.

    Where `send` is slower than they come, the oldest are lost. One that can't be sent isn't kept.
    Whatever else goes wrong is logged once of each kind, and ends nothing.
    """
    is_failing = False
    failures: set[str] = set()
    async for insight in buffer.follow(StreamTrack.INSIGHTS, after=buffer.last):
        if not isinstance(insight, Insight) or insight.is_private:
            continue
        with errors_logged_once(insight.channel, failures):
            try:
                if is_wanted():
                    await send(insight.model_dump_json().encode())
                    is_failing = False
            except BusError as error:
                if not is_failing:
                    names = {"channel": insight.channel, "error": str(error)}
                    log.info("insight.not_published", extra=names)
                is_failing = True
