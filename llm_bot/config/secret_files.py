"""Files that a configuration names: opened while it is validated, and where they are secret, read.

They are looked for only where an `Origin` is given as pydantic's context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from llm_bot.config.fields import Section, mismatch, nonblank

# Keys and credentials are a few hundred bytes; the bound is for a path that leads elsewhere.
_MAX_BYTES = 64 * 1024
_SUFFIX = "_file"


@dataclass(frozen=True)
class Origin:
    """Where a configuration comes from. Relative names of files start at `directory`."""

    directory: Path
    environ: Mapping[str, str]
    _contents: dict[str, bytes] = field(default_factory=dict, repr=False)

    def content(self, path: str) -> bytes:
        """What a file begins with, read once: it may be a pipe."""
        if path not in self._contents:
            with Path(path).open("rb") as stream:
                self._contents[path] = stream.read(_MAX_BYTES + 1)
        return self._contents[path]

    def secret(self, path: str) -> str:
        """What a file holds, without white space around it."""
        content = self.content(path)
        if len(content) > _MAX_BYTES:
            raise mismatch("{found} names a file that is over 64 KiB, which no secret is")
        if not content.strip():
            raise mismatch("{found} names an empty file")
        return content.decode("utf-8-sig", "replace").strip()


def _readable(name: str, info: ValidationInfo) -> str:
    """The absolute path of a file that can be read."""
    if info.context is None:
        return name
    path = str(info.context.directory / name)
    try:
        info.context.content(path)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a file name"
        raise mismatch(f"{{found}} names a file that can't be read: {reason}") from None
    return path


def _key_file(path: str, info: ValidationInfo) -> str:
    if info.context is not None:
        info.context.secret(path)
    return path


def _secret_file(path: str, info: ValidationInfo) -> str:
    name = str(info.field_name).removesuffix(_SUFFIX)
    if info.data.get(name) is not None:
        raise mismatch(f"{name} and {name}{_SUFFIX} are both set", "delete one of the two")
    if info.context is not None and not _is_printable(info.context.secret(path)):
        raise mismatch("{found} names a file that isn't one line of plain text")
    return path


def _is_printable(text: str) -> bool:
    return text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text


def _header_secret_file(path: str, info: ValidationInfo) -> str:
    if info.context is not None and not info.context.secret(path).isascii():
        raise mismatch("{found} names a file that isn't plain ASCII, for an HTTP header")
    return path


FilePath = Annotated[
    str, Field(min_length=1, max_length=4096), AfterValidator(nonblank), AfterValidator(_readable)
]
KeyFile = Annotated[FilePath, AfterValidator(_key_file)]
"""Holds lines of which some are secret."""
SecretFile = Annotated[FilePath, AfterValidator(_secret_file)]
"""Holds what the field of the same name without `_file` would have. That one comes first."""
HeaderSecretFile = Annotated[SecretFile, AfterValidator(_header_secret_file)]


class SectionWithFiles(Section):
    """A section with `SecretFile` fields; the fields beside them get what the files hold."""

    def model_post_init(self, context: Any, /) -> None:
        if context is None:
            return
        for name in type(self).model_fields:
            path = getattr(self, f"{name}{_SUFFIX}", None)
            if path is not None:
                self.__dict__[name] = SecretStr(context.secret(path))  # frozen: it has no setter
