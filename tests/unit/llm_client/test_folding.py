"""Rules of folding: nothing that was said is lost, and the roles take turns."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import ImagePart, Message, TextPart
from llm_bot.llm_client.adapters.folding import opened_by_user, without_repeats, without_system

IMAGE = ImagePart("data:image/png;base64,AA==")


def system(text):
    return Message("system", text)


def user(content):
    return Message("user", content)


def assistant(text):
    return Message("assistant", text)


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([], []),
        ([user("a")], [user("a")]),
        ([system("s"), user("a")], [user("s\n\na")]),
        ([system("s"), system("t"), user("a")], [user("s\n\nt\n\na")]),
        ([Message("developer", "s"), user("a")], [user("s\n\na")]),
        ([user("a"), system("s"), assistant("b")], [user("s\n\na"), assistant("b")]),
        ([system("s"), assistant("b"), user("a")], [user("s"), assistant("b"), user("a")]),
        ([system("s")], [user("s")]),
        (
            [system("s"), user([TextPart("a"), IMAGE])],
            [user([TextPart("s"), TextPart("a"), IMAGE])],
        ),
    ],
)
def test_without_system(messages, folded):
    """What the system says is at the start of the first user message, or becomes one."""
    assert without_system(messages) == folded


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([], []),
        ([user("a"), user("b")], [user("a\n\nb")]),
        ([user("a"), assistant("b"), user("c")], [user("a"), assistant("b"), user("c")]),
        ([user("a"), assistant("b"), assistant("c")], [user("a"), assistant("b\n\nc")]),
        ([user([IMAGE]), user("b")], [user([IMAGE, TextPart("b")])]),
    ],
)
def test_without_repeats(messages, folded):
    """Messages of one role in a row are one message."""
    assert without_repeats(messages) == folded


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([], []),
        ([user("a")], ["user"]),
        ([system("s"), user("a")], ["system", "user"]),
        ([assistant("a"), user("b")], ["user", "assistant", "user"]),
    ],
)
def test_opened_by_user(messages, roles):
    """An assistant that speaks first gets something to answer; nothing that was said changes."""
    opened = opened_by_user(messages)
    assert [message.role for message in opened] == roles
    assert list(opened[len(opened) - len(messages) :]) == messages


conversations = st.lists(
    st.builds(
        Message, st.sampled_from(["system", "user", "assistant"]), st.text("abc", min_size=1)
    ),
    max_size=6,
)


@given(conversations)
def test_nothing_is_lost(messages):
    """Folded messages hold every text, and no system, and no role twice in a row."""
    folded = without_repeats(without_system(messages))
    said = "\n\n".join(str(message.content) for message in folded)
    assert sorted(said.split("\n\n")) == sorted(
        [str(message.content) for message in messages] or [""]
    )
    roles = [message.role for message in folded]
    assert "system" not in roles
    assert all(first != second for first, second in itertools.pairwise(roles))
    assert without_repeats(without_system(folded)) == folded
