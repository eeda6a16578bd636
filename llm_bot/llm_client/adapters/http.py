"""HTTP as the adapters write and read it: values, no library's objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """What goes to the server. Only the method is in its repr: the rest may hold secrets."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class HTTPReply:
    """What came back, header names in lower case.

    `is_cut` says that the body was too large to read, and is left out.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_cut: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300
