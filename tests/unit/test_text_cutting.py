"""What is said is cut in UTF-16 units, at a sentence or word, and through nothing visible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.text.cleaning import strip_invisible
from llm_bot.text.cutting import cut_at_sentence, cut_utf16, utf16_length

ANY_TEXT = st.text(st.characters(codec=None))


@given(ANY_TEXT, st.integers(1, 40))
def test_a_cut_text_fits(text: str, units: int):
    """A cut counts UTF-16 units, takes a beginning, and leaves short texts alone."""
    cut = cut_utf16(text, units)
    assert text.startswith(cut)
    assert utf16_length(cut) <= units
    assert (cut == text) == (utf16_length(text) <= units)


@pytest.mark.parametrize(
    ("text", "units", "kept"),
    [
        pytest.param("ab😀", 3, "ab", id="no-half-pair"),
        pytest.param("ab😀", 4, "ab😀", id="whole-pair"),
        pytest.param("abe\u0301", 3, "ab", id="accent"),
        pytest.param("a👨\u200d👩\u200d👧", 6, "a", id="joined-emoji"),
        pytest.param("🇩🇪🇫🇷", 6, "🇩🇪", id="flag"),
        pytest.param("👍🏽", 2, "👍", id="nothing-whole-fits"),
        pytest.param("e" + "\u0301" * 9, 4, "e" + "\u0301" * 3, id="too-many-accents"),
        pytest.param("😀", 1, "", id="nothing-fits"),
    ],
)
def test_a_cut_parts_no_visible_character(text: str, units: int, kept: str):
    """Surrogate pairs, accents and emoji sequences stay whole or go whole."""
    assert cut_utf16(text, units) == kept


@pytest.mark.parametrize(
    ("text", "units", "kept"),
    [
        pytest.param("One. Two.", 9, "One. Two.", id="fits"),
        pytest.param("One. Two. Three.", 12, "One. Two.", id="last-that-fits"),
        pytest.param("One! Two? Three", 10, "One! Two?", id="other-marks"),
        pytest.param('He said "no." Then he left.', 20, 'He said "no."', id="closing-quote"),
        pytest.param("Fine. Use e.g. this one here", 20, "Fine.", id="abbreviation"),
        pytest.param("Fine. Ask Dr. Who about it", 18, "Fine.", id="title"),
        pytest.param("It is. About 3.5 metres", 16, "It is.", id="decimal"),
        pytest.param("It is. About 3.5 metres", 15, "It is.", id="decimal-at-the-edge"),
        pytest.param("Sure. Well... maybe not", 16, "Sure.", id="ellipsis-goes-on"),
        pytest.param("Well... Maybe not today", 14, "Well...", id="ellipsis-ends"),
        pytest.param("yes. no. maybe so", 10, "yes. no.", id="lower-case"),
        pytest.param("1. Foo bar baz qux", 12, "1. Foo...", id="list-number"),
        pytest.param("そうです。はい。いいえ。", 9, "そうです。はい。", id="ideographic"),
        pytest.param("words and more words here", 14, "words and...", id="word"),
        pytest.param("words, and more words", 12, "words...", id="no-dangling-comma"),
        pytest.param("x" * 30, 10, "x" * 7 + "...", id="one-long-word"),
        pytest.param("abcdef ghi", 3, "abc", id="no-room-for-dots"),
        pytest.param("ab 😀😀😀😀", 8, "ab...", id="emoji"),
    ],
)
def test_a_text_is_cut_at_a_sentence_or_word(text: str, units: int, kept: str):
    """The last sentence end that fits, else a word with "..."."""
    assert cut_at_sentence(text, units) == kept
    assert utf16_length(kept) <= units


@given(ANY_TEXT, st.integers(1, 40))
def test_a_sentence_cut_fits(text: str, units: int):
    """Whatever the text, the sentence cut stays within the limit and never leaves half a pair."""
    cut = cut_at_sentence(strip_invisible(text), units)
    assert utf16_length(cut) <= units
    assert cut == strip_invisible(cut)
