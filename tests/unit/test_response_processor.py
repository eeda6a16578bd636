"""From an answer to a line worth saying (behaviour, section 7), step by step."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_bot.config import ResponseProcessingConfig
from llm_bot.response_processor import Processed, ResponseProcessor, strip_reasoning
from llm_bot.response_processor.guard import FilterReason
from llm_bot.text.cleaning import utf16_length
from llm_bot.text.markdown import strip_markdown

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
        pytest.param("<think>hm</think>Hi there", "Hi there", id="closed"),
        pytest.param("Hi <think>and then", "Hi", id="unclosed"),
        pytest.param("so I say\n</think>\n\nHi", "Hi", id="closing-alone"),
        pytest.param("Hi <thinking>a</thinking> you", "Hi  you", id="in-the-middle"),
        pytest.param("<Think foo='1'>\nhm\n</ THINK >Hi", "Hi", id="case-and-attributes"),
        pytest.param("<think>a <think> b</think>Hi", "Hi", id="opened-twice"),
        pytest.param("<think>a<think>b</think>c</think>Hi", "Hi", id="nested"),
        pytest.param("<reasoning>a</think>Hi", "Hi", id="closed-by-another-name"),
        pytest.param("[THINK]a[/THINK]Hi", "Hi", id="square-brackets"),
        pytest.param("◁think▷a◁/think▷Hi", "Hi", id="triangles"),
        pytest.param(
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Hi",
            "Hi",
            id="channels",
        ),
        pytest.param("Hi<|im_end|>", "Hi", id="control-token"),
        pytest.param("<<<0123456789ab\nHi\n0123456789ab>>>", "Hi", id="the-prompts-fence"),
        pytest.param("0123456789ab and <<<abc", "0123456789ab and <<<abc", id="no-fence"),
        pytest.param("I think <3 [thinking]", "I think <3 [thinking]", id="only-words"),
        pytest.param("<thinker>a</thinker>", "<thinker>a</thinker>", id="another-tag"),
        pytest.param("<think>nothing but", "", id="reasoning-only"),
    ],
)
def test_reasoning_is_stripped(answer: str, text: str):
    """Reasoning goes, closed or not; a closing mark alone ends one that began at the start."""
    assert strip_reasoning(answer) == text


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


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        pytest.param("**bold** __bold__", "bold bold", id="strong"),
        pytest.param("*it* _it_ ***both***", "it it both", id="emphasis"),
        pytest.param("snake_case_name stays", "snake_case_name stays", id="snake-case"),
        pytest.param("3 * 4 * 5 = 60", "3 * 4 * 5 = 60", id="product"),
        pytest.param("a*b*c", "abc", id="emphasis-inside-a-word"),
        pytest.param("**open and * this", "**open and * this", id="unclosed"),
        pytest.param("** no ** _ no _", "** no ** _ no _", id="spaces-inside"),
        pytest.param("*foo**bar*", "foo**bar", id="lengths-add-up-to-three"),
        pytest.param("*a **b* c**", "a b c", id="lengths-mixed"),
        pytest.param("*a _b* c_", "a _b c_", id="overlap"),
        pytest.param("*(*foo*)*", "(foo)", id="beside-punctuation"),
        pytest.param("~~gone~~ ~5 or ~6", "gone ~5 or ~6", id="strikethrough"),
        pytest.param("`x = *a*` and ``a ` b``", "x = *a* and a ` b", id="code"),
        pytest.param("`` `a` `` `unclosed", "`a` `unclosed", id="code-in-code"),
        pytest.param("[docs](http://x.y/z_(a) 'T')", "docs", id="link"),
        pytest.param("[*a* b](<x y>)!", "a b!", id="link-with-emphasis"),
        pytest.param("*foo [bar*](x)", "*foo bar*", id="link-binds-tighter"),
        pytest.param("[a [b](c) d](e)", "[a b d](e)", id="no-link-in-a-link"),
        pytest.param("![a cat](cat.png) [![b](c)](d)", "a cat b", id="image"),
        pytest.param("[not a link] (x) [y]", "[not a link] (x) [y]", id="brackets"),
        pytest.param("<https://x.y> <a@b.c> <3 <b>", "https://x.y a@b.c <3 <b>", id="autolink"),
        pytest.param("\\*not\\* a \\b", "*not* a \\b", id="escapes"),
        pytest.param("¯\\_(ツ)_/¯", "¯\\_(ツ)_/¯", id="shrug"),
        pytest.param("# Title #\n## Other\n#hashtag", "Title\nOther\n#hashtag", id="headings"),
        pytest.param("Title\n=====\ntext\n---\nmore", "Title\ntext\nmore", id="underlined"),
        pytest.param("a\n***\nb\n_ _ _", "a\nb", id="rules"),
        pytest.param("* a\n- b\n+ c\n  - d", "a\nb\nc\nd", id="bullets"),
        pytest.param("*a*\n* b *c*", "a\nb c", id="bullets-and-emphasis"),
        pytest.param("1. a\n2) b", "1. a\n2) b", id="numbers-stay"),
        pytest.param("> quoted\n> > *twice\n> over*", "quoted\ntwice\nover", id="quotes"),
        pytest.param("```py\nx = *a*\n```\n*b*", "x = *a*\nb", id="fence"),
        pytest.param("~~~\n```\n~~~", "```", id="other-fence"),
        pytest.param("```\nnever *closed*", "never *closed*", id="fence-unclosed"),
        pytest.param("+1 -1 #1 >", "+1 -1 #1 >", id="no-blocks"),
        pytest.param("*a\n\nb*", "*a\nb*", id="not-across-paragraphs"),
        pytest.param("1. a\n   - b\n     1. c\n2. d", "1. a\nb\n1. c\n2. d", id="lists-nested"),
        pytest.param("- a\n\n  - b\n\n    text\n- c", "a\nb\ntext\nc", id="lists-loose"),
        pytest.param("Sure!\n- one\n1. two", "Sure!\none\n1. two", id="list-after-text"),
        pytest.param("1986.", "1986.", id="number-alone"),
        pytest.param("1.\n2. - a", "1.\n2. a", id="items-empty-and-nested"),
        pytest.param("1. ```\n   *x*\n   ```", "1. *x*", id="item-of-code"),
        pytest.param("    indented *x*\n\ty", "indented x\ny", id="indentation-is-no-code"),
        pytest.param("| a | *b* |\n|---|:-:|", "| a | b |\n|---|:-:|", id="table"),
        pytest.param("[x](javascript:a(1)) [](y)", "x ", id="link-of-any-kind"),
        pytest.param("[a]: http://x.y\n[a]", "[a]: http://x.y\n[a]", id="no-references"),
        pytest.param("<https://ä.de/ö> a_b_c", "https://ä.de/ö a_b_c", id="address-as-written"),
        pytest.param("un*friggin*real __init__", "unfrigginreal init", id="inside-words"),
        pytest.param(":kappa: <3 :/ *shrug*", ":kappa: <3 :/ shrug", id="emotes"),
        pytest.param("*shrug* `¯\\_(ツ)_/¯`", "shrug ¯\\_(ツ)_/¯", id="shrug-in-code"),
        pytest.param("o_O T_T >.> ~/bin C# $5", "o_O T_T >.> ~/bin C# $5", id="faces-and-signs"),
        pytest.param("*open `code [link](x", "*open `code [link](x", id="marks-unclosed"),
        pytest.param("<b>x</b> &amp; <br/>", "<b>x</b> &amp; <br/>", id="html-is-text"),
        pytest.param("a  \nb\\\nc", "a\nb\nc", id="hard-breaks"),
    ],
)
def test_markdown_is_stripped(markdown: str, text: str):
    """Only what CommonMark takes for markup goes, and strikethrough."""
    assert strip_markdown(markdown) == text


def test_addresses_of_links_stay_where_links_are_allowed():
    """With `allow_links` the address is written behind the text that it was under."""
    said = filtered("[docs](https://a.b) here", allow_links=True, block_patterns=[])
    assert said.text == "docs (https://a.b) here"
    same = "[https://a.b](https://a.b) <c@d.e> ![f](g)"
    assert strip_markdown(same, keep_addresses=True) == "https://a.b c@d.e f"


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
    start = time.perf_counter()
    refused = filtered("a" * 3000 + "b c", block_patterns=["(?:a|a?a|b?a)*c$"], max_word_count=99)
    assert refused.refusal is FilterReason.PATTERN_TIMEOUT
    assert time.perf_counter() - start < 5


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


@given(st.text(st.sampled_from("*_`~[]()!<>#-+ \n\\ab:/.1=\"'")))
@example("`\n`")
def test_stripping_markdown_only_takes_away(text: str):
    """Stripping makes no text longer, and adds nothing but spaces for the newlines in code."""
    stripped = strip_markdown(text)
    assert len(stripped) <= len(text)
    assert set(stripped) <= {*text, " "}


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(text, id=text)
        for text in (
            *("*a ", "*", "**a*", "_a ", "`", "`a``b", "[", "]", "![", "[a](", "[](b(", '[](x "'),
            *(
                "<a",
                "<a:",
                "> ",
                "- ",
                "~~a ",
                "*a_b~~c[",
                "\\",
                "# ",
                " #",
                "```\n",
                "*a* ",
                "[a](b)",
            ),
            *(
                "<think",
                "<think>",
                "</think>",
                "< ",
                "MyBot: ",
                '"',
                "'",
                ".",
                "... ",
                "a ",
                "日。",
            ),
        )
    ],
)
def test_hostile_answers_take_linear_time(pattern: str):
    """Twice the answer never takes four times as long."""
    processor = ResponseProcessor(ResponseProcessingConfig())

    def seconds(size: int) -> float:
        text = pattern * (size // len(pattern))
        start = time.process_time()
        strip_markdown(text)
        processor.process(text, line=text, own_names=NAMES)
        return time.process_time() - start

    def growth() -> float:
        return min(seconds(32_000) for _ in range(3)) / min(seconds(16_000) for _ in range(3))

    # Noise on a busy machine may spoil one measurement, not three.
    assert any(growth() < 3.2 for _ in range(3))
