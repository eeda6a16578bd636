"""Image files become part of the request: a server can't read the caller's disk."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import stat
from dataclasses import replace
from pathlib import Path

from llm_bot.llm_client.exceptions import ValidationError
from llm_bot.llm_client.models import ImagePart, LLMRequest, Message, TextPart

MAX_IMAGE_BYTES = 20 * 1024 * 1024
_URL_SCHEMES = ("data:", "http://", "https://")


def has_images(request: LLMRequest) -> bool:
    """Whether any message of `request` holds an image."""
    return any(
        isinstance(part, ImagePart)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def is_image_url(text: str) -> bool:
    """Whether `text` is a URL that an image may have, and not a path."""
    return text[:8].lower().startswith(_URL_SCHEMES)


async def with_images_inlined(request: LLMRequest) -> LLMRequest:
    """`request` with the content of its image files as `data:` URLs.

    Raises:
        ValidationError: A file is missing, unreadable, no image by its name, or over 20 MiB.
    """
    if not has_images(request):
        return request
    messages = [await asyncio.to_thread(_inlined, message) for message in request.messages]
    return replace(request, messages=messages)


def _inlined(message: Message) -> Message:
    if isinstance(message.content, str):
        return message
    return replace(message, content=[_part(part) for part in message.content])


def _part(part: TextPart | ImagePart) -> TextPart | ImagePart:
    if isinstance(part, TextPart) or is_image_url(part.path_or_data_url):
        return part
    path = Path(part.path_or_data_url)
    kind, _ = mimetypes.guess_type(path.name)
    if not (kind or "").startswith("image/"):
        raise ValidationError(f"{path.name!r} isn't the name of an image file")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise ValidationError(f"the image {path.name!r} isn't a file")
        with path.open("rb") as file:
            content = file.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "the path isn't valid"
        raise ValidationError(f"the image {path.name!r} can't be read: {reason}") from exc
    if len(content) > MAX_IMAGE_BYTES:
        raise ValidationError(f"the image {path.name!r} is over {MAX_IMAGE_BYTES >> 20} MiB")
    if not content:
        raise ValidationError(f"the image {path.name!r} is empty")
    return ImagePart(f"data:{kind};base64,{base64.b64encode(content).decode()}")
