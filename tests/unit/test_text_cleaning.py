"""What a heard message becomes before anything else sees it (behaviour, section 1, "Cleaning")."""

from __future__ import annotations

import html

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from llm_bot.text.cleaning import (
    MAX_MESSAGE_CHARACTERS,
    clean_html,
    collapse_white_space,
    strip_invisible,
)
from tests.timing import is_linear

ANY_TEXT = st.text(st.characters(codec=None))

# By the names of properties, what the module spells out as ranges.
HIDDEN = regex.compile(
    r"""(?V1)[ [ \p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Default_Ignorable_Code_Point}
                 \uFDD0-\uFDEF \uFFFE\uFFFF \U000EFFFE-\U0010FFFF \u2800 ]
              -- [ \t\n\v\f\r\x85 \uFE0E\uFE0F ] ]""",
    regex.VERBOSE,
)


@pytest.mark.parametrize(
    ("msg", "seen"),
    [
        pytest.param("hello there", "hello there", id="plain"),
        pytest.param("", "", id="empty"),
        pytest.param(
            'see <a href="https://x.y/z" target="_blank" rel="noopener">https://x.y/z</a>',
            "see https://x.y/z",
            id="link",
        ),
        pytest.param("<strong>b</strong><em>i</em><code>c</code>", "bic", id="formatting"),
        pytest.param('<span class="spoiler">he dies</span>', "he dies", id="spoiler"),
        pytest.param('<img src="a.png" alt="no">', "", id="image-only"),
        pytest.param("a<img src=x>b", "a b", id="image-between-words"),
        pytest.param("one<br>two<BR/>three", "one two three", id="line-break"),
        pytest.param("x<script>alert('<b>')</script>y", "xy", id="script"),
        pytest.param("x<STYLE type=a>p{}</style >y", "xy", id="style"),
        pytest.param("x<script>never ends", "x", id="script-unclosed"),
        pytest.param("<scripted>x</scripted>", "x", id="only-looks-like-script"),
        pytest.param("a<!-- no <b> -->b", "ab", id="comment"),
        pytest.param("<!doctype html>x<?php y ?>z", "xz", id="declarations"),
        pytest.param("<a title='x>y'>k</a>", "k", id="quoted-bracket"),
        pytest.param("<b don't>x", "x", id="odd-apostrophe-in-tag"),
        pytest.param("a<b>c", "ac", id="tag-without-spaces"),
    ],
)
def test_tags_are_stripped(msg: str, seen: str):
    """Tags go, the text of links and formatting stays, images, scripts and styles are dropped."""
    assert clean_html(msg) == seen


@pytest.mark.parametrize(
    ("msg", "seen"),
    [
        pytest.param("a < b", "a < b", id="spaced"),
        pytest.param("i <3 you", "i <3 you", id="heart"),
        pytest.param("a<b && c", "a<b && c", id="never-closed"),
        pytest.param("</3 and <> and <<<", "</3 and <> and <<<", id="not-a-name"),
        pytest.param("<<b>x", "<x", id="before-a-tag"),
        pytest.param("a <b <i>c", "a <b c", id="unclosed-then-tag"),
        pytest.param("1 > 0", "1 > 0", id="closing-alone"),
    ],
)
def test_a_stray_bracket_is_text(msg: str, seen: str):
    """A `<` that begins no tag keeps its text."""
    assert clean_html(msg) == seen


@pytest.mark.parametrize(
    ("msg", "seen"),
    [
        pytest.param("a&lt;b &amp;&amp; c", "a<b && c", id="as-cytube-sends"),
        pytest.param("&gt;implying", ">implying", id="greentext"),
        pytest.param("don&#39;t &#40;x&#41; &quot;", "don't (x) \"", id="numeric"),
        pytest.param("&amp;lt;b&amp;gt;", "&lt;b&gt;", id="once-only"),
        pytest.param("&lt;script&gt;", "<script>", id="no-tags-from-entities"),
        pytest.param("AT&T", "AT&T", id="no-entity"),
        pytest.param("&#8203;x&#x202e;y&#0;", "xy\ufffd", id="invisible-ones"),
        pytest.param("&#xD800;&#1114112;", "\ufffd\ufffd", id="no-character"),
        pytest.param("&#" + "9" * 5000 + ";", "\ufffd", id="thousands-of-digits"),
        pytest.param("&#x" + "f" * 5000 + "z", "\ufffdz", id="thousands-of-hex-digits"),
        pytest.param("a&nbsp;b", "a b", id="space"),
    ],
)
def test_entities_are_decoded_once(msg: str, seen: str):
    """Entities become their characters, once, however odd they are."""
    assert clean_html(msg) == seen


@pytest.mark.parametrize(
    ("msg", "seen"),
    [
        pytest.param("  a \t b\r\n\n c ", "a b c", id="collapsed"),
        pytest.param("a\u00a0\u2003\u3000b\u2028c\x85d", "a b c d", id="unicode-spaces"),
        pytest.param("a\x00b\x07c\x1bd\x7fe\x9ff\x1cg", "abcdefg", id="controls"),
        pytest.param("My\u200bB\u200co\u200dt\ufeff\u2060\u00ad", "MyBot", id="zero-width"),
        pytest.param("a\u202eb\u2066c\u200fd", "abcd", id="direction"),
        pytest.param("a\ud800b\udc00c", "abc", id="lone-surrogates"),
        pytest.param("a\u3164b\u2800c\u115fd\uffa0", "abcd", id="blank-fillers"),
        pytest.param("a\U000e0041b\U000e0100c\ueeee", "abc", id="tags-and-private-use"),
        pytest.param("👨\u200d👩\u200d👧", "👨👩👧", id="emoji-family-comes-apart"),
        pytest.param("❤\ufe0f 1\ufe0f\u20e3", "❤\ufe0f 1\ufe0f\u20e3", id="emoji-style-stays"),
        pytest.param("a\ufe0fb ❤\ufe0f\ufe0f", "ab ❤\ufe0f", id="stray-selector"),
        pytest.param("Zoë ñ 日本語 हिन्दी 😀", "Zoë ñ 日本語 हिन्दी 😀", id="other-scripts-stay"),
    ],
)
def test_invisible_characters_and_white_space(msg: str, seen: str):
    """Control and zero-width characters go, white space collapses to single spaces."""
    assert clean_html(msg) == seen


def test_a_message_is_cut():
    """What is left is cut at 1,000 characters, and a space at the edge goes too."""
    assert clean_html("x" * 1001) == "x" * 1000
    assert clean_html("x" * 999 + " y") == "x" * 999
    assert clean_html("<b>" * 500 + "y") == "y"


def test_the_class_of_hidden_characters_is_complete():
    """The ranges spelled out in the module are those that Unicode's properties give, in the planes
    that Unicode uses."""
    planes = (*range(0x33000), *range(0xE0000, 0xE2000), *range(0xEFFF0, 0xF0010), 0x10FFFF)
    every = "".join(map(chr, planes))
    gone = set(every) - set(strip_invisible(every))
    assert gone ^ set(HIDDEN.findall(every)) <= {"\ufe0e", "\ufe0f"}


@given(ANY_TEXT)
@example("&#x26;#47;")
@example("<" * 50 + ">")
def test_whatever_comes_in_comes_out_clean(msg: str):
    """No text leaves hidden characters, double spaces or more than 1,000 characters behind."""
    seen = clean_html(msg)
    assert not HIDDEN.search(seen)
    assert seen == collapse_white_space(seen)
    assert len(seen) <= MAX_MESSAGE_CHARACTERS


REFERENCES = ["&#39;", "&quot;", "&amp;", "&lt", "&", "&#", "3", "9", "39;", ";", "x27;", "a", " "]


@given(st.lists(st.sampled_from(REFERENCES), max_size=8).map("".join))
def test_references_are_decoded_as_the_library_does(text):
    """Whatever is replaced before, the sum is what one reading of all references gives."""
    whole = collapse_white_space(strip_invisible(html.unescape(text)))
    assert clean_html(text) == whole


HOSTILE = (
    *("<", "<a ", "<a <a", "<a '<a' ", "<a \"'", "<a '\"<a\"' '", "<!--", "<!", "<?", "</", "<b>"),
    *("<script>", "<script", "<style></style>", "<script></script", "<a b='", "<>", "a\ufe0f"),
    *("&", "&#", "&#9", "&amp", "&lt;", "&#x9", "\u200b", "\u200b ", " "),
)


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_messages_take_linear_time(pattern: str):
    """Twice the input never takes four times as long."""
    assert is_linear(clean_html, pattern, 16_384)
