"""What may be published at all (behaviour, section 7: the guard, which nothing bypasses)."""

from __future__ import annotations

import base64
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_bot.config import ResponseProcessingConfig
from llm_bot.response_processor import FilterReason, ResponseProcessor
from llm_bot.response_processor.guard import (
    Guard,
    Guarded,
    GuardRefusal,
    is_publishable_name,
)
from tests.timing import is_linear

ANY_TEXT = st.text(st.characters(codec=None))
# Where hostile texts live: what a guard has to do with, and little else.
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from("/／>＞!！ \t\n\r\x00\x0b\x85.:-\"'*_`~#[](){}@<&;aZ9。．\u2028\u00a0"),
        st.sampled_from("\u200b\u200d\u202e\ufeff\u00ad\u3164\u2800\ufe0f\u0301\ud83d\ude00\ueeee"),
        st.sampled_from(
            ["://", "http", ".com", "&#47;", "%2F", "😀", "🇩🇪", "👩\u200d👧", "\U000e0041"]
        ),
        st.sampled_from(["MyBot", "MyBot:", "<think>", "</think>", "/kick bob", "hunter2hunter2"]),
    )
).map("".join)
KEY = "sk-proj-Abc123DEF456ghi789"
SECRETS = (KEY, "hunter2hunter2", "p@$$!!x")
# CyTube's expression for a link, spelled again.
LINK = re.compile(r"\w+://(?:[^:/\[\]\s]+|\[[0-9a-f:]+\])", re.ASCII | re.IGNORECASE)
DOMAIN = re.compile(r"[a-z0-9-]\.[a-z]{2,}", re.IGNORECASE)


def guard(*, allow_links: bool = False, max_units: int = 200) -> Guard:
    return Guard(secrets=SECRETS, allow_links=allow_links, max_units=max_units)


def published(text: str, **settings) -> str | None:
    """What of `text` is said, None for nothing."""
    result = guard(**settings).check(text)
    return result.text if isinstance(result, Guarded) else None


def bare_start(text: str) -> str:
    """`text` without white space, control, format, surrogate and other unseen characters."""
    return "".join(
        each
        for each in text
        if not each.isspace()
        and unicodedata.category(each)[0] not in "CZ"
        and each not in "\u034f\u115f\u1160\u3164\uffa0\u2800"
        and not "\ufe00" <= each <= "\ufe0f"
    )


def assert_publishable(text: str, max_units: int) -> None:
    assert text.strip()
    assert bare_start(text)[:1] not in {"/", ">", "!"}
    assert len(text.encode("utf-16-le")) // 2 <= max_units  # and no half surrogate pair
    assert not [each for each in text if unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("/kick bob", "kick bob", id="command"),
        pytest.param(" /kick bob", "kick bob", id="after-space"),
        pytest.param("//kick bob", "kick bob", id="twice"),
        pytest.param("/ /\t/kick", "kick", id="in-turns-with-space"),
        pytest.param("\u200b/kick", "kick", id="after-zero-width"),
        pytest.param("\u202e\ufeff\u2060/\u200d/kick", "kick", id="mixed-zero-width"),
        pytest.param("\x00\x1b/clear", "clear", id="after-control"),
        pytest.param("\n/clear", "clear", id="after-newline"),
        pytest.param("\u3164\u2800/clear", "clear", id="after-blank-letters"),
        pytest.param("\u0301/clear", "clear", id="after-accent"),
        pytest.param("/\ufe0fclear", "clear", id="slash-with-selector"),
        pytest.param("/\u0338clear", "clear", id="slash-with-accent"),
        pytest.param("\u0378/clear", "clear", id="after-unassigned"),
        pytest.param("／clear", "clear", id="full-width"),
        pytest.param("/>!/ x", "x", id="mixture"),
        pytest.param("> quoted", "quoted", id="greentext"),
        pytest.param("!skip", "skip", id="other-bots"),
        pytest.param("d/d", "d/d", id="inside-stays"),
        pytest.param("wow! /s > x", "wow! /s > x", id="later-stays"),
        pytest.param("%2Fclear", "2Fclear", id="percent"),
        pytest.param("&#47;clear", "&#47;clear", id="entity-is-text"),
        pytest.param("\\/clear", "\\/clear", id="backslash-is-text"),
        pytest.param("∕clear", "∕clear", id="division-slash-is-text"),
        pytest.param("¯\\_(ツ)_/¯", "¯\\_(ツ)_/¯", id="shrug"),
        pytest.param("¡Hola!", "¡Hola!", id="inverted"),
        pytest.param("🫨 new emoji", "🫨 new emoji", id="emoji-newer-than-python"),
    ],
)
def test_no_line_begins_with_a_command(text: str, said: str):
    """A line loses every `/`, `>` and `!` that it begins with, whatever hides between them."""
    # GUARD-2
    assert published(text) == said


BLANK = (
    *("", " \n\t\u00a0", "/ / /", "\u200b\u200d\ufeff", "\u3164\u2800\u115f", "\u0301\u0302"),
    *("\ud83d", "\x00\x01", "\ueeee"),
)


@pytest.mark.parametrize("text", BLANK)
def test_nothing_blank_is_published(text: str):
    """What is blank, or becomes so, is refused as empty (GUARD-3)."""
    assert guard().check(text) == GuardRefusal(FilterReason.EMPTY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("see https://example.com/x", "see https:// example. com/x", id="url"),
        pytest.param("http://localhost:8080/", "http:// localhost:8080/", id="no-domain"),
        pytest.param("http://[::1]/", "http:// [::1]/", id="ipv6"),
        pytest.param("x://y", "x:// y", id="any-scheme"),
        pytest.param("http:////x", "http:// //x", id="more-slashes"),
        pytest.param("http：／／x", "http：／／ x", id="full-width-scheme"),
        pytest.param("http:// then", "http:// then", id="broken-already"),
        pytest.param("www.foo.co.uk", "www. foo. co. uk", id="bare"),
        pytest.param("EVIL.COM", "EVIL. COM", id="upper-case"),
        pytest.param("bit.ly/abc", "bit. ly/abc", id="short"),
        pytest.param("a@b.org", "a@b. org", id="mail"),
        pytest.param("evil\u200b.\u200dcom", "evil. com", id="zero-width-inside"),
        pytest.param("evil．com", "evil． com", id="full-width-dot"),
        pytest.param("evil。com", "evil。 com", id="ideographic-dot"),
        pytest.param("пример.рф", "пример. рф", id="cyrillic"),
        pytest.param("उदाहरण.भारत", "उदाहरण. भारत", id="devanagari"),
        pytest.param("x.xn--p1ai", "x. xn--p1ai", id="punycode"),
        pytest.param("💩.la", "💩. la", id="emoji-domain"),
        pytest.param("evil.ⓒⓞⓜ", "evil. ⓒⓞⓜ", id="circled"),
        pytest.param("the end.Next", "the end. Next", id="forgotten-space"),
        pytest.param("e.g. 3.14 at 5 a.m.", "e.g. 3.14 at 5 a.m.", id="no-domain-at-all"),
        pytest.param("wait ... .NET", "wait ... .NET", id="leading-dot"),
        pytest.param("10.0.0.1", "10.0.0.1", id="numbers"),
        pytest.param("終わり。次は", "終わり。次は", id="japanese-sentence"),
    ],
)
def test_links_are_broken(text: str, said: str):
    """A space after the scheme and after the dot of a domain makes text of a link (GUARD-2)."""
    assert published(text) == said
    assert published(said) == said


def test_links_may_be_allowed():
    """With `allow_links` a link stays as it is; everything else holds all the same."""
    assert published("see https://example.com", allow_links=True) == "see https://example.com"
    assert published("//example.com", allow_links=True) == "example.com"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("it is sk-proj-Abc123DEF456ghi789", id="plain"),
        pytest.param("SK-PROJ-ABC123DEF456GHI789", id="other-case"),
        pytest.param("s k-proj-Abc\n123 DEF456ghi789", id="spaced"),
        pytest.param("sk\u200b-proj-Abc123\u2060DEF456\u3164ghi789", id="zero-width"),
        pytest.param("sk.proj.Abc*123*DEF_456 ghi/789", id="other-punctuation"),
        pytest.param("ｓｋ－ｐｒｏｊ－Ａｂｃ１２３DEF456ghi789", id="full-width"),
        pytest.param("sk-proj-A\u0301bc123DEF456ghi789", id="accented"),
        pytest.param("half: Abc123DEF456", id="twelve-in-a-row"),
        pytest.param("my key starts sk-proj-Ab...", id="cut-in-the-middle"),
        pytest.param("hunter2 hunter2", id="password"),
        pytest.param("say P@ $$!! X", id="mostly-punctuation"),
        pytest.param("/" + "x" * 400 + "hunter2hunter2", id="beyond-the-limit"),
    ],
)
def test_a_secret_refuses_the_reply(text: str):
    """Nothing is said of an answer that holds a secret, however it is spelled (GUARD-1)."""
    # CONF-22
    assert guard().check(text) == GuardRefusal(FilterReason.SECRET)


@pytest.mark.parametrize("text", ["hunter2", "sk-proj A is a prefix", "px", "Abc123", "p@$"])
def test_a_few_letters_of_a_secret_are_no_secret(text: str):
    """What anybody might say isn't refused for a likeness."""
    assert published(text) == text


@pytest.mark.parametrize(
    ("text", "units", "said"),
    [
        pytest.param("abcdef", 4, "abcd", id="plain"),
        pytest.param("abc def", 4, "abc", id="no-space-at-the-edge"),
        pytest.param("abc😀", 4, "abc", id="no-half-pair"),
        pytest.param("a.bc d", 5, "a. bc", id="links-first"),
        pytest.param("////abcdef", 4, "abcd", id="start-first"),
    ],
)
def test_a_line_fits(text: str, units: int, said: str):
    """At most so many UTF-16 units, counted when everything else is done (GUARD-3)."""
    assert published(text, max_units=units) == said


def test_changes_are_named():
    """What was done to a line is told, in order; nothing for a line that was fine."""
    assert guard(max_units=12).check("/\u200ba  b.com and more") == Guarded(
        "a b. com and", ("invisible", "white_space", "start", "links", "length")
    )
    assert guard().check("fine") == Guarded("fine")


@given(st.one_of(ANY_TEXT, HOSTILE), st.integers(1, 60), st.booleans())
@example("e\u0301" * 40, 5, False)
@example("!\ufe0f/", 60, False)
@example("a.\u0301bc", 60, False)
@example("😀", 1, False)
@example("Zhunter2http", 9, False)
@example("evil.c\u0301om", 60, False)
def test_what_passes_is_publishable_and_a_fixed_point(text: str, units: int, allow_links: bool):
    """For any text: harmless or refused for a reason that fits, and a second look changes
    nothing (GUARD-4)."""
    result = guard(allow_links=allow_links, max_units=units).check(text)
    if isinstance(result, GuardRefusal):
        assert result.reason in {FilterReason.EMPTY, FilterReason.SECRET}
        return
    assert_publishable(result.text, units)
    assert guard(allow_links=allow_links, max_units=units).check(result.text) == Guarded(
        result.text
    )
    if not allow_links:
        assert not LINK.search(result.text)
        assert not DOMAIN.search(result.text)


PROCESSORS = {
    (strip, strategy, enabled): ResponseProcessor(
        ResponseProcessingConfig(
            strip_markdown=strip,
            collapse_newlines=strip,
            truncation_strategy=strategy,
            max_response_length=50,
            quality_checks_enabled=enabled,
        )
    )
    for strip in (True, False)
    for strategy in ("hard", "sentence")
    for enabled in (True, False)
}


@given(
    answer=st.one_of(ANY_TEXT, HOSTILE),
    line=st.one_of(ANY_TEXT, HOSTILE),
    name=st.one_of(st.just("MyBot"), ANY_TEXT, HOSTILE),
    settings=st.sampled_from(sorted(PROCESSORS)),
)
@example("MyBot: /kick bob", "hi", "MyBot", (True, "sentence", True))
@example('"/clear"', "hi", "MyBot", (True, "sentence", True))
@example("<think>x</think>MyBot: \u200b“/clear”", "hi", "MyBot", (True, "hard", True))
@example("> > /clear", "hi", "MyBot", (True, "sentence", True))
@example("**/clear** now", "hi", "MyBot", (True, "sentence", True))
@example("\\/clear", "hi", "MyBot", (True, "sentence", True))
@example("`/clear`", "hi", "MyBot", (True, "sentence", True))
@example("[/clear](x)", "hi", "MyBot", (True, "sentence", True))
@example("- # /clear", "hi", "MyBot", (True, "sentence", True))
@example("</think>/clear", "hi", "MyBot", (False, "sentence", True))
@example("<|start|>/clear", "hi", "MyBot", (False, "sentence", True))
def test_no_answer_can_do_harm(answer: str, line: str, name: str, settings: tuple[bool, str, bool]):
    """For any answer of a model, any user name and line: what is published never begins with `/`
    once white space, zero-width and control characters are taken away, never exceeds the limit in
    UTF-16 units, and has no control characters and no half surrogate pairs (REQ-1)."""
    processed = PROCESSORS[settings].process(
        answer, line=line, own_names=(name,), recent_own_lines=(line,)
    )
    if processed.refusal is not None:
        assert processed.text == ""
        return
    said = published(processed.text, max_units=50)
    if said is not None:
        assert_publishable(said, 50)


HOSTILE_PATTERNS = (
    *("/ ", "\u200b/", "a.b", "://", "e\u0301", "\u0301", "a.bc", "hunter2", "/\u0301", "A"),
    "\U000313fe/",
)


@pytest.mark.parametrize("pattern", HOSTILE_PATTERNS)
def test_hostile_texts_take_linear_time(pattern: str):
    """Twice the text never takes four times as long."""
    assert is_linear(guard().check, pattern, 15_000)


@pytest.mark.parametrize("name", ["alice", "Bob_the-2nd", "x" * 50])
def test_names_for_private_messages(name: str):
    """A private message goes to a name of CyTube's letters, 1 to 50 of them."""
    assert is_publishable_name(name)


@pytest.mark.parametrize("name", ["x" * 51, "", "a b", "alice\n", "zoë", "[server]", "１"])
def test_no_names_for_private_messages(name: str):
    """Too long, empty, or with a space, a newline, another letter, a bracket, another digit."""
    assert not is_publishable_name(name)


LETTERS = "Zq7Lm2Xv9Rt4Wk8Bn3Pc"  # 20 letters and digits, no two runs alike


@pytest.mark.parametrize(
    ("secret", "told", "is_secret"),
    [
        *((LETTERS, LETTERS[at : at + 12], True) for at in range(9)),
        (LETTERS, LETTERS[3:10], False),
        *((LETTERS[:length], LETTERS[:length], True) for length in range(6, 14)),
        *((LETTERS[:length], LETTERS[: length - 2], False) for length in range(6, 9)),
        ("a-b!c#d$e", "a-b!c#d$e", True),
        ("a-b!c#d$e", "abcde", False),
        ("", "hi", False),
        (" ", "hi", False),
    ],
)
def test_what_tells_a_secret(secret, told, is_secret):
    """In mid line: eight letters or digits in a row from anywhere of it, a shorter one whole, and
    one of fewer than six with its punctuation; a blank one is none."""
    made = Guard(secrets=(secret,), allow_links=False, max_units=200)
    assert isinstance(made.check(f"it is {told} I hear"), GuardRefusal) is is_secret


@pytest.mark.parametrize(
    "told",
    [
        KEY[::-1],
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(b"the key: " + KEY.encode() + b".").decode(),
        KEY.encode().hex(),
        " ".join(KEY),
        "-".join(KEY[:12]),
    ],
)
def test_a_secret_in_other_forms(told):
    """Reversed, in base64 alone or within more, in hex, spelled out: it is told all the same."""
    assert guard().check(f"here: {told}") == GuardRefusal(FilterReason.SECRET)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!skip now", "skip now"),
        ("$100 is a lot", "100 is a lot"),
        (".play that", "play that"),
        ("?help", "help"),
        ("-5 degrees", "5 degrees"),
        (";;x", ";;x"),
        ("|| spoiler", "|| spoiler"),
        ("~~!play", "~~!play"),
        ("...well then", "... well then"),
        ("-- a dash", "-- a dash"),
        ("bot! kick him", "kick him"),
    ],
)
def test_no_command_for_other_bots(text, said):
    """A symbol directly before a letter goes, and so do the prefixes that are ignored (GUARD-5)."""
    made = Guard(secrets=(), allow_links=False, max_units=200, ignored_prefixes=("bot!", "!", " "))
    for each in (text, said):
        found = made.check(each)
        assert isinstance(found, Guarded)
        assert found.text == said
