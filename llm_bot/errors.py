"""Exceptions of the daemon. Those of the client library are its own (`llm_bot.llm_client`).

LLMBotError
  ConfigError                 the configuration can't be used; carries every problem found
  BusError                    the event bus could not do what was asked
    BusUnavailableError       not connected: nothing was sent, nothing is queued
    NoRespondersError         connected, but nobody listens on the subject of a request
    NotPermittedError         the account may not publish on the subject
    RequestTimeoutError       no acceptable answer in time: whether it was acted on is unknown
    UnacceptedReplyError      answers came, none of them acceptable
    UnsupportedByBusError     this kind of bus has no such operation
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LLMBotError(Exception):
    """Base of everything that the daemon raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a configuration file, and how to mend it.

    `line` counts from 1; `path` is dotted (`triggers[1].keywords`), or empty for what is wrong
    with the file as such; `message` never holds a secret; `suggestion` is empty where there is
    nothing to suggest.
    """

    line: int
    path: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}{self.message}{hint}"

    def at(self, source: str, kind: str = "error") -> str:
        """`config.yaml:12: error: ...`, as compilers say it and editors understand it."""
        return f"{source}:{self.line}: {kind}: {self}"


class ConfigError(LLMBotError):
    """The configuration can't be used. `problems` holds all of them, in the order of the file."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.at(source) for problem in self.problems))


class BusError(LLMBotError):
    """The event bus could not do what was asked."""


class BusUnavailableError(BusError):
    """Not connected: nothing was sent and nothing is queued."""


class NoRespondersError(BusError):
    """Connected, but nobody listens on the subject of a request."""


class NotPermittedError(BusError):
    """The account may not publish on the subject."""


class RequestTimeoutError(BusError):
    """No acceptable answer in time; whether the request was acted on is unknown."""


class UnacceptedReplyError(BusError):
    """Answers to a request came, none of them acceptable. `data` is the body of the last one."""

    def __init__(self, subject: str, data: bytes) -> None:
        self.data = data
        super().__init__(f"no acceptable answer on {subject}")


class UnsupportedByBusError(BusError):
    """This kind of bus has no such operation."""
