"""Rules of images: files become part of the request, or it is refused."""

from __future__ import annotations

import base64
import os

import pytest

from llm_bot.llm_client import ImagePart, LLMRequest, Message, TextPart, ValidationError
from llm_bot.llm_client.images import (
    MAX_IMAGE_BYTES,
    has_images,
    is_image_url,
    with_images_inlined,
)
from tests.unit.llm_client.support import request


def showing(path) -> LLMRequest:
    content: list[TextPart | ImagePart] = [TextPart("What is this?"), ImagePart(str(path))]
    return LLMRequest([Message("system", "Be kind."), Message("user", content)], model="m")


def parts_of(asked: LLMRequest):
    return asked.messages[1].content


def test_has_images():
    """Only an image is one."""
    assert has_images(showing("x.png"))
    assert not has_images(request())
    assert not has_images(LLMRequest([Message("user", [TextPart("x.png")])]))


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "image/png"), ("a.JPG", "image/jpeg"), ("a b.gif", "image/gif")]
)
async def test_a_file_becomes_a_data_url(tmp_path, name, kind):
    """The content of the file goes out; the rest of the request stays."""
    (tmp_path / name).write_bytes(b"\x89PNG")
    asked = await with_images_inlined(showing(tmp_path / name))
    data = base64.b64encode(b"\x89PNG").decode()
    assert parts_of(asked) == [
        TextPart("What is this?"),
        ImagePart(f"data:{kind};base64,{data}"),
    ]
    assert (asked.model, asked.messages[0]) == ("m", Message("system", "Be kind."))


@pytest.mark.parametrize(
    "url", ["https://h/x", "http://h/x.png", "HTTPS://h/x", "data:image/png;base64,AA=="]
)
async def test_a_url_stays(url):
    """A URL is the server's to fetch."""
    assert is_image_url(url)
    assert await with_images_inlined(showing(url)) == showing(url)


async def test_a_request_without_images_is_the_same():
    """There is nothing to do for text."""
    asked = request()
    assert await with_images_inlined(asked) is asked


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "No such file"),
        ("text.txt", "isn't the name of an image"),
        ("unnamed", "isn't the name of an image"),
        ("", "isn't the name of an image"),
        ("nul\0.png", "isn't valid"),
        ("\ud800.png", "can't be read"),
        ("x" * 5000 + ".png", "too long"),
        ("folder.png", "isn't a file"),
        ("pipe.png", "isn't a file"),
        ("empty.png", "is empty"),
        ("large.png", "over 20 MiB"),
        ("folder.png/x.png", "No such file"),
        ("empty.png/x.png", "Not a directory"),
    ],
)
async def test_a_file_that_cannot_be_read(tmp_path, name, reason):
    """Missing, unreadable, no image, no file, empty or too large: a ValidationError at once
    (LLM-4).
    """
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.txt").write_text("secret")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    with pytest.raises(ValidationError, match=reason) as caught:
        await with_images_inlined(showing(f"{tmp_path}/{name}"))
    assert str(tmp_path) not in str(caught.value)
    assert not caught.value.retryable


async def test_the_largest_file_that_is_sent(tmp_path):
    """The bound itself is allowed."""
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES)
    asked = await with_images_inlined(showing(tmp_path / "large.png"))
    assert isinstance(parts_of(asked)[1], ImagePart)
