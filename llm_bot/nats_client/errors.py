"""What goes wrong in nats-py, as exceptions of ours, and in words that give away no password."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from nats import errors

from llm_bot.errors import BusUnavailableError

_LOGIN_REFUSED = re.compile(r"authoriz|authentic", re.IGNORECASE)
_USER_INFO = re.compile(r"//\S*@")


def without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def describe_error(error: Exception) -> str:
    """`error` for people to read, without user names or passwords."""
    text = _USER_INFO.sub("//", str(error)) or type(error).__name__
    if _LOGIN_REFUSED.search(text):
        return f"the server refused the login: {text}"
    return "no answer in time" if isinstance(error, TimeoutError) else text


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """What nats-py raises, as ours: it lost the connection, or the server didn't answer."""
    try:
        yield
    except (errors.Error, OSError) as exc:
        raise BusUnavailableError(f"{what}: {exc}") from exc
