"""Rules of strict turns: nothing that was said is lost, and the roles take turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client import ImagePart, Message, TextPart
from llm_bot.llm_client.adapters.strict_turns import with_strict_turns

IMAGE = ImagePart("data:image/png;base64,AA==")
OPENING = ("user", "...")


@pytest.mark.parametrize(
    ("given_turns", "turns"),
    [
        ([], []),
        ([("user", "a")], [("user", "a")]),
        ([("system", "s"), ("user", "a")], [("user", "s\n\na")]),
        ([("user", "a"), ("developer", "s")], [("user", "s\n\na")]),
        ([("system", "s")], [("user", "s")]),
        ([("user", "a"), ("user", "b")], [("user", "a\n\nb")]),
        ([("assistant", "x"), ("user", "a")], [OPENING, ("assistant", "x"), ("user", "a")]),
        ([("system", "s"), ("assistant", "x")], [("user", "s"), ("assistant", "x")]),
    ],
)
def test_turns(given_turns, turns):
    """The system's words come first and are a user's; one role in a row is one message."""
    found = with_strict_turns([Message(role, text) for role, text in given_turns])
    assert [(each.role, each.content) for each in found] == turns


def test_images_stay():
    """Messages of parts are joined part by part."""
    turns = with_strict_turns([Message("user", "a"), Message("user", [IMAGE])])
    assert turns == [Message("user", [TextPart("a"), IMAGE])]


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text())))
def test_whatever_was_said(said):
    """Every text is still there, the roles take turns, and a user begins; doing it twice changes
    nothing."""
    turns = with_strict_turns([Message(role, text) for role, text in said])
    assert [each.role for each in turns] == (["user", "assistant"] * len(turns))[: len(turns)]
    whole = "".join(str(each.content) for each in turns)
    assert all(text in whole for _, text in said)
    assert with_strict_turns(turns) == turns
