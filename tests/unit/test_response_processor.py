"""From an answer to a line worth saying (behaviour, section 7), step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.config import ResponseProcessingConfig
from llm_bot.response_processor import FilterReason, Processed, ResponseProcessor
from llm_bot.response_processor.processor import MAX_ANSWER_CHARACTERS
from llm_bot.text.cutting import utf16_length
from tests.timing import is_linear

NAMES = ("MyBot", "the bot")


def process(
    answer: str, *, line: str = "@MyBot hi", said: tuple[str, ...] = (), **settings
) -> Processed:
    """What becomes of `answer` with the default settings but for those given."""
    processor = ResponseProcessor(ResponseProcessingConfig.model_validate(settings))
    return processor.process(answer, line=line, own_names=NAMES, recent_own_lines=said)


def filtered(answer: str, **filters) -> Processed:
    """The same with settings of the content filter."""
    return process(answer, content_filter=filters)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param("<think>hm</think>Hi there", "Hi there", id="reasoning"),
        pytest.param("<|start|>Hi there<|im_end|>", "Hi there", id="control-tokens"),
        pytest.param("<<<0123456789ab\nHi there\n0123456789ab>>>", "Hi there", id="our-fence"),
        pytest.param("0123456789ab and <<<abc", "0123456789ab and <<<abc", id="no-fence"),
    ],
)
def test_what_was_not_meant_for_the_room_is_stripped(answer: str, text: str):
    """Reasoning goes (`llm_client.reasoning`), and what a template or our own prompt left."""
    assert process(answer).text == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param("MyBot: hello you", "hello you", id="colon"),
        pytest.param("mybot : hello you", "hello you", id="any-case"),
        pytest.param("@MyBot - hello you", "hello you", id="dash"),
        pytest.param("**MyBot**: hello you", "hello you", id="bold"),
        pytest.param("**MyBot:** hello you", "hello you", id="bold-colon"),
        pytest.param("<MyBot> hello you", "hello you", id="angle"),
        pytest.param("[MyBot]: hello you", "hello you", id="square"),
        pytest.param("[12:30:01] MyBot: hello you", "hello you", id="time"),
        pytest.param("MyBot: MyBot: hello you", "hello you", id="twice"),
        pytest.param("MyBot (you): hello you", "hello you", id="as-the-prompt-writes-it"),
        pytest.param("**MyBot (you)**: hello you", "hello you", id="so-and-bold"),
        pytest.param("MyBot (you know him) is", "MyBot (you know him) is", id="in-brackets"),
        pytest.param("The Bot: hello you", "hello you", id="alias-of-two-words"),
        pytest.param("My\u200bBot: hello you", "hello you", id="zero-width"),
        pytest.param("MyBot is here", "MyBot is here", id="subject-of-a-sentence"),
        pytest.param("MyBot-9000 is here", "MyBot-9000 is here", id="part-of-a-word"),
        pytest.param("alice: hello", "alice: hello", id="somebody-else"),
        pytest.param("hello MyBot: x", "hello MyBot: x", id="later"),
    ],
)
def test_the_own_name_is_stripped(answer: str, text: str):
    """The bot's name as a speaker's in front of the answer goes, however it is decorated."""
    assert process(answer).text == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param('"hello you"', "hello you", id="straight"),
        pytest.param("'don't go'", "don't go", id="single-with-apostrophe"),
        pytest.param("“hello you”", "hello you", id="curly"),
        pytest.param("«bonjour toi»", "bonjour toi", id="angles"),
        pytest.param("\"'hello you'\"", "hello you", id="nested"),
        pytest.param('MyBot: "hello you"', "hello you", id="after-name"),
        pytest.param("\"MyBot: 'hello you'\"", "hello you", id="around-name"),
        pytest.param('"yes" or "no"', '"yes" or "no"', id="two-quotations"),
        pytest.param("'a' or 'b'", "'a' or 'b'", id="two-single-quotations"),
        pytest.param('he said "no"', 'he said "no"', id="only-at-the-end"),
    ],
)
def test_wrapping_quote_marks_are_stripped(answer: str, text: str):
    """Quote marks go where they stand around the whole answer, and only there."""
    assert process(answer).text == text


def test_addresses_of_links_stay_where_links_are_allowed():
    """With `allow_links` the address is written behind the text that it was under."""
    said = filtered("[docs](https://a.b) here", allow_links=True, block_patterns=[])
    assert said.text == "docs (https://a.b) here"


def test_markdown_may_stay():
    """Without `strip_markdown` the markup is said as it came."""
    assert process("**bold** move", strip_markdown=False).text == "**bold** move"


def test_newlines_are_collapsed():
    """Newlines become spaces, unless told otherwise; runs of spaces shrink either way."""
    assert process("one \n\n two\tthree").text == "one two three"
    assert process("one \n\n two\tthree", collapse_newlines=False).text == "one\ntwo three"


@pytest.mark.parametrize(
    ("answer", "filters", "reason"),
    [
        pytest.param("see https://x.y", {}, FilterReason.BLOCKED_PATTERN, id="link-by-default"),
        pytest.param("see HTTP\u200bS://x", {}, FilterReason.BLOCKED_PATTERN, id="any-case"),
        pytest.param(
            "ｓｅｃｒｅｔ",
            {"block_patterns": ["^secret$"]},
            FilterReason.BLOCKED_PATTERN,
            id="width",
        ),
        pytest.param(
            "oh DARN it", {"block_keywords": ["darn"]}, FilterReason.BLOCKED_KEYWORD, id="keyword"
        ),
        pytest.param(
            "bad\n**word**",
            {"block_keywords": ["Bad  Word"]},
            FilterReason.BLOCKED_KEYWORD,
            id="phrase",
        ),
        pytest.param("c++!", {"block_keywords": ["c++"]}, FilterReason.BLOCKED_KEYWORD, id="odd"),
        pytest.param("one two", {"min_word_count": 3}, FilterReason.TOO_SHORT, id="few-words"),
        pytest.param("a b c d", {"max_word_count": 3}, FilterReason.TOO_LONG, id="many-words"),
        pytest.param(
            "cats", {"require_keywords": ["cat", "dog"]}, FilterReason.MISSING_KEYWORD, id="missing"
        ),
    ],
)
def test_the_content_filter_refuses(answer: str, filters: dict[str, object], reason: FilterReason):
    """Patterns, keywords and word counts refuse an answer, and say which did; switched off, none
    does."""
    refused = filtered(answer, **filters)
    assert (refused.text, refused.refusal) == ("", reason)
    assert filtered(answer, **filters, enabled=False).refusal is None


@pytest.mark.parametrize(
    ("answer", "filters"),
    [
        pytest.param("a classic", {"block_keywords": ["ass"]}, id="part-of-a-word"),
        pytest.param("My DOG!", {"require_keywords": ["cat", "dog"]}, id="one-required-suffices"),
        pytest.param("one two", {"min_word_count": 2, "max_word_count": 2}, id="just-right"),
        pytest.param("[here](https://x.y)", {}, id="address-gone-with-the-markup"),
    ],
)
def test_the_content_filter_lets_through(answer: str, filters: dict[str, object]):
    """Keywords are whole words, any one that is required suffices, counts include their ends."""
    assert filtered(answer, **filters).refusal is None


def test_a_pattern_that_takes_too_long_refuses():
    """A pattern is matched within a time bound; past it the answer isn't said (ASK-9)."""
    refused = filtered("a" * 3000 + "b c", block_patterns=["(?:a|a?a|b?a)*c$"], max_word_count=99)
    assert refused.refusal is FilterReason.PATTERN_TIMEOUT


def test_words_are_counted_after_the_cut():
    """The length comes before the word counts."""
    answer = "One two three. " + "word " * 100
    assert process(answer, max_response_length=20).text == "One two three."


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        pytest.param("hard", "First one. Second 😀", id="hard"),
        pytest.param("sentence", "First one.", id="sentence"),
    ],
)
def test_an_answer_is_cut(strategy: str, text: str):
    """An answer is cut to `max_response_length`, in UTF-16 units, in the way that is set."""
    processed = process(
        "First one. Second 😀😀 goes on", truncation_strategy=strategy, max_response_length=21
    )
    assert (processed.text, processed.steps) == (text, ("length",))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param("", FilterReason.EMPTY, id="nothing"),
        pytest.param(" \n\u200b ", FilterReason.EMPTY, id="blank"),
        pytest.param("MyBot:", FilterReason.EMPTY, id="name-only"),
        pytest.param("<think>hm", FilterReason.EMPTY, id="reasoning-only"),
        pytest.param('""', FilterReason.EMPTY, id="quote-marks-only"),
        pytest.param("***", FilterReason.EMPTY, id="markup-only"),
        pytest.param("?!...", FilterReason.LOW_QUALITY, id="punctuation-only"),
        pytest.param("Ok.", FilterReason.LOW_QUALITY, id="ok"),
        pytest.param("*okay!*", FilterReason.LOW_QUALITY, id="okay"),
        pytest.param("What's UP", FilterReason.ECHO, id="echo"),
        pytest.param("MyBot, what's up?!", FilterReason.ECHO, id="echo-with-name"),
        pytest.param("been there!", FilterReason.DUPLICATE, id="said-before"),
    ],
)
def test_quality(answer: str, reason: FilterReason):
    """Not empty, no bare "ok", no echo of the line, none of the last own lines; case, punctuation
    and, for the echo, the bot's name don't count."""
    line, said = "@MyBot what's up?", ("Been THERE", "Done that.")
    refused = process(answer, line=line, said=said)
    assert (refused.text, refused.refusal) == ("", reason)
    unchecked = process(answer, line=line, said=said, quality_checks_enabled=False).refusal
    assert unchecked == (reason if reason is FilterReason.EMPTY else None)


@pytest.mark.parametrize("answer", ["no", "Ok, but why?", "😂", "what's up with you", "42"])
def test_short_answers_may_be_good_ones(answer: str):
    """Brevity alone is no fault."""
    assert process(answer, line="what's up").refusal is None


@pytest.mark.parametrize(
    ("window", "refusal"),
    [(0, None), (1, None), (2, FilterReason.DUPLICATE), (9, FilterReason.DUPLICATE)],
)
def test_repetitions_are_looked_for_in_a_window(window: int, refusal: FilterReason | None):
    """Only the last `deduplicate_window` own lines count, the newest last."""
    said = ("hi there", "bye")
    assert process("Hi there!", said=said, deduplicate_window=window).refusal is refusal


def test_steps_are_named_in_their_order():
    """The steps that changed the text are told, those that didn't aren't (ASK-8)."""
    processed = process('<think>x</think>MyBot: "**a**\u200b\nb"')
    assert processed == Processed(
        "a b", ("reasoning", "invisible", "own_name", "quotes", "markdown", "white_space")
    )
    assert process("plain words") == Processed("plain words")


def test_filters_see_the_whole_answer():
    """What would be cut off is filtered all the same: patterns come before the length."""
    answer = "Fine so far. " + "word " * 50 + "forbidden"
    assert filtered(answer, block_keywords=["forbidden"]).refusal is FilterReason.BLOCKED_KEYWORD


@given(
    st.text(st.characters(codec=None)),
    st.sampled_from(["hard", "sentence"]),
    st.integers(1, 50),
)
def test_no_answer_is_longer_than_the_room_allows(answer: str, strategy: str, limit: int):
    """Whatever the answer, the line fits, or there is none."""
    processed = process(answer, truncation_strategy=strategy, max_response_length=limit)
    assert utf16_length(processed.text) <= limit
    assert (processed.text == "") == (processed.refusal is not None)


HOSTILE = (
    *("*a ", "*", "**a*", "_a ", "`", "`a``b", "[", "]", "![", "[a](", "[](b(", '[](x "', "<a"),
    *("<a:", "> ", "- ", "~~a ", "*a_b~~c[", "\\", "# ", " #", "```\n", "*a* ", "[a](b)", "1. "),
    *("<think", "<think>", "</think>", "< ", "MyBot: ", '"', "'", ".", "... ", "a ", "日。"),
)


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_answers_take_linear_time(pattern: str):
    """Twice the answer never takes four times as long, up to where it is cut before it is read."""
    processor = ResponseProcessor(ResponseProcessingConfig())

    def process_it(text: str) -> None:
        processor.process(text, line=text, own_names=NAMES)

    assert is_linear(process_it, pattern, MAX_ANSWER_CHARACTERS // 4)
