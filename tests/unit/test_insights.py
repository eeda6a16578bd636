"""Changes of topic and questions left unanswered, from the words of lines."""

from __future__ import annotations

import doctest
import importlib
import random
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_bot.insights.questions import (
    ANSWER_LINES,
    ANSWER_SECONDS,
    OPEN_QUESTIONS,
    QuestionWatch,
    Unanswered,
    is_question,
)
from llm_bot.insights.topics import (
    LINE_CHARACTERS,
    TOPIC_LINES,
    TOPIC_THRESHOLD,
    Spoken,
    TopicChange,
    TopicWatch,
    cut,
    difference_of,
    telling_words,
)
from tests.timing import TRIES, is_cheap

SHARKS = (
    "that shark looks like rubber",
    "the shark is never on screen",
    "the captain hates the shark",
    "he needs a bigger boat",
    "the boat was built for the film",
    "the captain scratches the blackboard",
    "the sea scenes took months",
    "nobody swims in that sea again",
    "rubber shark, real sea",
    "the boat sinks at the end",
)
SOUP = (
    "my soup needs more salt",
    "pepper first, then salt",
    "which spoon for the soup",
    "the pan is too small for onions",
    "onions make everything better",
    "fry the onions in butter",
    "butter in soup, are you serious",
    "bread with butter and salt",
    "my grandmother baked bread",
    "bread goes with the soup",
)


def spoken(text: str, *, user: str = "alice", at: float = 0.0, **fields) -> Spoken:
    return Spoken(user, text, at, **fields)


def talk(watch: TopicWatch, texts: Iterable[str]) -> list[TopicChange]:
    users = ("ann", "bob", "cleo")
    lines = (spoken(text, user=users[i % 3]) for i, text in enumerate(texts))
    return [change for line in lines if (change := watch.note(line)) is not None]


# --- topics ---


def test_another_topic_is_noticed_with_its_words():
    """From the shark to the soup: the first line of the new topic, how different, and its words."""
    watch = TopicWatch(10)
    assert talk(watch, SHARKS) == []
    (change,) = talk(watch, SOUP)
    assert change.first.text == SOUP[0]
    assert TOPIC_THRESHOLD <= change.difference <= 1
    assert {"soup", "salt", "butter", "bread", "onions"} == set(change.words)


def test_the_same_topic_is_no_change():
    """The same talk in another order, however long it goes on."""
    watch = TopicWatch(10)
    shuffled = [random.Random(seed).sample(SHARKS, len(SHARKS)) for seed in range(6)]
    assert [change for texts in shuffled for change in talk(watch, texts)] == []


def test_back_to_the_old_topic_is_a_change_again():
    """Each interval is compared with the one before it."""
    watch = TopicWatch(10)
    changes = [change for texts in (SHARKS, SOUP, SOUP, SHARKS) for change in talk(watch, texts)]
    assert [change.first.text for change in changes] == [SOUP[0], SHARKS[0]]


def test_names_are_no_topic():
    """Who is spoken to changes nothing: neither the bot's name nor the speakers' are words."""
    watch = TopicWatch(10, names=("Reel",))
    talk(watch, (f"Reel, bob: {text}" for text in SHARKS))
    (change,) = talk(watch, (f"Reel, ann: {text}" for text in SOUP))
    assert not {"reel", "ann", "bob"} & set(change.words)


@pytest.mark.parametrize("texts", [["lol", "haha", "what", "no way"], ["😱", "!!!", "", "..."]])
def test_too_little_was_said(texts):
    """A few lines of laughter, or without words, are no other topic."""
    watch = TopicWatch(10)
    assert talk(watch, [*SHARKS, *(texts * 3)[:10]]) == []


def test_lines_that_share_nothing_at_all():
    """Where even mixed halves have no word in common, there is nothing to compare with."""
    lines = [frozenset({f"w{i}a", f"w{i}b"}) for i in range(20)]
    assert difference_of(lines[:10], lines[10:]) is None


@given(
    st.lists(st.frozensets(st.sampled_from("abcdefghijklmnopqrst"), max_size=8), max_size=12),
    st.lists(st.frozensets(st.sampled_from("abcdefghijklmnopqrst"), max_size=8), max_size=12),
)
@settings(deadline=None)
def test_difference_is_a_number_from_0_to_1(before, now):
    """Whatever was said, and None where that was too little."""
    difference = difference_of(before, now)
    assert difference is None or 0 <= difference <= 1


# --- questions ---


def others(count: int, *, start: float = 1.0) -> list[Spoken]:
    """Lines of somebody else that answer nothing."""
    return [spoken("the popcorn burns", user="zoe", at=start + i) for i in range(count)]


def heard(watch: QuestionWatch, *lines: Spoken) -> list[Unanswered]:
    return [late for line in lines for late in watch.note(line)]


ASKED = spoken("what year is the car from?", user="newt", correlation_id="q")


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("is it over for the captain?", True),
        ("is it over for the captain?! 😱😱", True),
        ("¿quién es el capitán?", True),
        ("これ は 何 ですか？", True),
        ("hey reel, who is that", True),
        ("@Reel what's playing now", True),
        ("which film is it", True),
        ("how the captain dies is the best part", False),
        ("what a film", False),
        ("when he is angry he whispers", False),
        ("who brings soup to a film", False),
        ("really?", False),
        ("???", False),
        ("why? because I say so", False),
        ("who is it that came in and then went out and then came in again and again", False),
    ],
)
def test_what_is_a_question(text, asks):
    """A question mark at the end, or a short line that begins like one; never a single word."""
    assert is_question(text) is asks


def test_nobody_answers_in_time():
    """After two minutes it is told, with the words it is about, and only once."""
    watch = QuestionWatch()
    assert heard(watch, ASKED, *others(3)) == []
    assert watch.tick(ANSWER_SECONDS - 0.1) == []
    assert watch.tick(ANSWER_SECONDS) == [Unanswered(ASKED, ("year", "car"))]
    assert watch.tick(ANSWER_SECONDS + 1) == []


def test_a_busy_room_scrolls_it_away():
    """So many lines of others, and it is told at once; lines of who asked don't count."""
    watch = QuestionWatch()
    own = [spoken("pretty colours", user="Newt", at=1.0)] * ANSWER_LINES
    assert heard(watch, ASKED, *own, *others(ANSWER_LINES - 1)) == []
    assert heard(watch, *others(1)) == [Unanswered(ASKED, ("year", "car"))]


def test_a_later_line_tells_it_too():
    """Time also passes with the lines, without a tick."""
    watch = QuestionWatch()
    late = heard(watch, ASKED, *others(1, start=ANSWER_SECONDS + 5))
    assert [one.asked for one in late] == [ASKED]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(spoken("1958, I think", user="zoe"), id="the-form-asked-for"),
        pytest.param(spoken("old cars are lovely", user="zoe"), id="shares-a-word"),
        pytest.param(spoken("newt no clue", user="zoe"), id="names-who-asked"),
        pytest.param(spoken("That car again!", user="MyBot", is_own=True), id="the-bot"),
        pytest.param(spoken("ah thanks", user="NEWT"), id="thanks"),
        pytest.param(spoken("never mind", user="newt"), id="never-mind"),
    ],
)
def test_what_ends_a_question(answer):
    """A line that looks like an answer, or who asked having it."""
    watch = QuestionWatch()
    assert heard(watch, ASKED, answer) == []
    assert watch.tick(1e9) == []


def test_who_asked_does_not_answer_himself():
    """His own words about it leave it open."""
    watch = QuestionWatch()
    heard(watch, ASKED, spoken("the car is red by the way", user="newt"))
    assert len(watch.tick(1e9)) == 1


@pytest.mark.parametrize("is_noted_first", [True, False])
def test_the_bot_answered_it(is_noted_first):
    """Its reply to that line counts whatever it says, before the line is looked at and after."""
    watch = QuestionWatch()
    other = spoken("is the captain tall?", user="bob", correlation_id="other")
    if is_noted_first:
        heard(watch, ASKED, other)
        watch.note_answered("q")
    else:
        watch.note_answered("q")
        heard(watch, ASKED, other)
    assert [one.asked for one in watch.tick(1e9)] == [other]


def test_the_bot_s_own_questions_are_not_watched():
    """What it asks is its own affair."""
    watch = QuestionWatch()
    heard(watch, spoken("who wants popcorn?", user="MyBot", is_own=True))
    assert watch.tick(1e9) == []


def test_the_bot_s_name_is_not_what_it_is_about():
    """Another line that calls the bot is no answer for that."""
    watch = QuestionWatch(names=("Reel",))
    asked = spoken("Reel, tell me the budget?", user="newt")
    heard(watch, asked, spoken("Reel sings", user="zoe"))
    assert [one.words for one in watch.tick(1e9)] == [("budget",)]


def test_a_question_asked_anew_replaces_the_older_one():
    """One open question for each person."""
    watch = QuestionWatch()
    second = spoken("fine, where was it filmed?", user="newt", at=60.0)
    assert heard(watch, ASKED, second) == []
    assert [one.asked for one in watch.tick(1e9)] == [second]


def test_open_questions_are_bounded():
    """The oldest is forgotten, and nothing is told of it."""
    watch = QuestionWatch()
    asked = [spoken(f"why q{i} w{i}x?", user=f"user{i}q") for i in range(OPEN_QUESTIONS + 5)]
    heard(watch, *asked)
    assert [one.asked for one in watch.tick(1e9)] == asked[5:]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=40), st.booleans())))
@settings(deadline=None)
def test_any_text_is_looked_at(lines):
    """Nothing that people write raises, and what is told was asked."""
    watch, topics = QuestionWatch(("a",)), TopicWatch(2, ("a",))
    for at, (user, text, is_own) in enumerate(lines):
        line = spoken(text, user=user, at=at * 30.0, is_own=is_own)
        topics.note(line)
        assert all(is_question(late.asked.text) for late in watch.note(line))
    assert telling_words("") == {}


# --- what it costs ---

LONGEST = 1000
"""What the wire lets through of a line."""

PIECES = ("@@,", "@a, ", "@", "a", "a ", "a,", "what ", "what", " ", "?", "a b ?", "漢", "a'",
          "hey ", "thank ", "Ab ", "ab. ", "never ", "\n", "a:", "ings ", "1", "_a_")  # fmt: skip
ENDS = ("", " foo bar", "?", "x", " is", " is it?")


def full_watch() -> QuestionWatch:
    watch = QuestionWatch(("Reel",))
    heard(watch, *(spoken(f"why q{i} w{i}x?", user=f"u_{i}q") for i in range(OPEN_QUESTIONS)))
    return watch


@given(
    st.lists(st.sampled_from([*PIECES, *ENDS]), min_size=1, max_size=6),
    st.sampled_from(("", "what ", "a b ")),
    st.sampled_from(ENDS),
)
@example(["@@,"], "", " foo bar")
@example(["a"], "", "x")
@settings(deadline=None, max_examples=200)
def test_no_line_takes_long(pieces, begin, end):
    """Any mixture of pieces that patterns could read again and again, up to the longest line."""
    text = begin + ("".join(pieces) * LONGEST)[: LONGEST - len(begin) - len(end)] + end
    watch = full_watch()

    def look() -> None:
        is_question(text)
        telling_words(text)
        watch.note(spoken(cut(text), user="zoe"))
        watch.tick(0.0)

    assert is_cheap(look, 100)


def test_ten_names_are_called():
    """Nothing odd about it, and no question; six names and a question are one."""
    names = [f"@{name}" for name in ("anna", "bob", "carl", "dave", "eve", "fred")]
    assert not is_question(", ".join([*names, *names]) + " gather round")
    assert is_question(", ".join(names) + ", what is it")


def test_lines_are_cut():
    """Of a long line its beginning and its end are looked at: who is called, and the mark."""
    text = "Reel, " + "soup " * 300 + "is it good?"
    assert len(cut(text)) == LINE_CHARACTERS
    assert cut(text).startswith("Reel, soup ")
    assert is_question(cut(text))
    assert cut(text[:LINE_CHARACTERS]) == text[:LINE_CHARACTERS]


def test_a_mark_far_from_the_end_asks_nothing():
    """Signs after the mark count up to some dozens."""
    assert is_question("is it good?" + "!" * 40)
    assert not is_question("it is good?" + "!" * 400)


def unlike_lines(count: int) -> list[str]:
    """Lines of words that nobody has used before, none of them common."""
    rng = random.Random(7)
    return ["".join(chr(rng.randrange(0x3400, 0x9FFF)) for _ in range(200)) for _ in range(count)]


@pytest.mark.parametrize("interval", [20, 500])
def test_a_comparison_is_bounded(interval):
    """However long the interval and its lines, it reads some hundreds of words on each side."""
    texts = unlike_lines(interval)

    def compare() -> None:
        watch = watches.pop()
        talk(watch, texts[-1:])

    watches = [TopicWatch(interval) for _ in range(TRIES)]
    for watch in watches:
        talk(watch, [*texts, *texts[:-1]])
    assert is_cheap(compare, 150)


def test_a_long_interval_is_sampled():
    """More lines than are compared: evenly chosen ones stand for all, and a change is still one."""
    interval = 3 * TOPIC_LINES
    watch = TopicWatch(interval)
    rng = random.Random(3)
    assert talk(watch, rng.choices(SHARKS, k=interval)) == []
    (change,) = talk(watch, [SOUP[0], *rng.choices(SOUP, k=interval - 1)])
    assert change.first.text == SOUP[0]
    assert talk(watch, rng.choices(SOUP, k=interval)) == []


@pytest.mark.parametrize("name", ["topics", "questions", "stream_buffer"])
def test_examples(name):
    """Each example in the docstrings gives what it says."""
    failed, tried = doctest.testmod(importlib.import_module(f"llm_bot.insights.{name}"))
    assert (failed, bool(tried)) == (0, True)
