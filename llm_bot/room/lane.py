"""Replies that wait: one short queue for a room's public lines, one for its private ones. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

from llm_bot.decisions import DecisionRecord
from llm_bot.models import ChatLine
from llm_bot.rate_limiter import Permit


class Job(msgspec.Struct, eq=False):
    """An admitted line on its way to a reply. `deadline` is a monotonic time in seconds."""

    line: ChatLine
    permit: Permit
    record: DecisionRecord
    deadline: float


class Lane:
    """First in, first out, at most `size` jobs and one for each user."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._jobs: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def room(self) -> int:
        """How many more jobs it takes."""
        return self.size - len(self._jobs)

    def waiting(self, user: str) -> Job | None:
        """The job of `user` (in lower case) that waits."""
        return next((job for job in self._jobs if job.line.user.lower() == user), None)

    def put(self, job: Job) -> None:
        self._jobs.append(job)

    def replace(self, older: Job, newer: Job) -> None:
        """Put `newer` in the place of `older`, which waits."""
        self._jobs[self._jobs.index(older)] = newer

    def take(self) -> Job | None:
        """The oldest job, None if there is none."""
        return self._jobs.popleft() if self._jobs else None
