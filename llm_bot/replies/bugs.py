"""A bug in one reply or one tick is told, and ends neither the room nor the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def caught(work: Awaitable[T]) -> T | BaseException:
    """What came of `work`, or what it raised. Only being cancelled goes on."""
    try:
        return await work
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Something that was waited for was cancelled. Raised on, it would end the task that waits,
        # and a task group takes that for an orderly end.
        return exc
    except Exception as exc:  # noqa: BLE001 - that is what this is for
        return exc
