"""The metrics of a reply: their shape, their bounds, and what they promise for odd input."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_bot.evaluation
from llm_bot.evaluation import (
    BrevityMetric,
    EchoMetric,
    EmbeddingRelevanceMetric,
    Metric,
    RepetitionMetric,
    ResponseRelevanceMetric,
    brevity,
    echo,
    relevance,
    repetition,
)
from llm_bot.evaluation.exchanges import called_for, kinds_of, offered
from llm_bot.evaluation.lines import LINES_REMEMBERED, MAX_LINES, forget, last_lines, read
from llm_bot.evaluation.related_words import GROUPS_OF, names_of
from llm_bot.evaluation.words import VOCABULARY, stem, tokens

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(llm_bot.evaluation.__path__, "llm_bot.evaluation.")
)
METRICS: list[Metric] = [
    ResponseRelevanceMetric(),
    BrevityMetric(),
    RepetitionMetric(),
    EchoMetric(),
]
ODD = [
    "",
    " \n\t ",
    "😂😂😂",
    "\u200b\u200d",
    "\ud800",
    "\x00",
    "???",
    ":",
    "a:",
    "'''",
    "’s",
    "İstanbul ǅ ß",
    "漢字かな交じり文",
    "漢",
    "x" * 100_000,
    "word " * 20_000,
    "\n" * 100_000,
    "(" * 100_000,
    "a" + "\u0301" * 50_000,
]

WORDS = """the film was great who is he u ann bob drummer drums 1986 how long? why because tea
    Hello thanks! it you plant garden died sorry Zürich perro ok lol stream refresh don't"""
some_words = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)
any_text = st.one_of(st.text(max_size=80), some_words, st.builds("ann: {}".format, some_words))
contexts = st.one_of(any_text, st.lists(any_text, max_size=25))


async def nothing(texts):
    raise AssertionError("nobody should have asked")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Each example in a docstring gives what it says."""
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("name", ["llm_bot.evaluation", *MODULES])
def test_it_stands_alone(name):
    """Nothing of the bot is imported, and nothing that has a clock, chance, a log or I/O."""
    allowed = {"__future__", "collections", "functools", "itertools", "math", "re", "typing"}
    tree = ast.parse(Path(importlib.import_module(name).__file__ or "").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            assert module.startswith("llm_bot.evaluation.") or module.split(".")[0] in allowed
        elif isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= allowed


def test_the_face():
    """What the package promises can be imported from it."""
    for name in llm_bot.evaluation.__all__:
        assert getattr(llm_bot.evaluation, name)


async def test_morning_goals():
    """The pair of the issue is judged to belong together."""
    reply = "Let's explore what you want to accomplish today. What's most important?"
    found = await ResponseRelevanceMetric().evaluate("User wants to set morning goals", reply)
    assert found > 0.7


async def test_the_shape_is_that_of_the_functions():
    """`evaluate` gives what the plain function gives."""
    context, reply = ["ann: so good so good"], "so good so good so good"
    found = [await metric.evaluate(context, reply) for metric in METRICS]
    plain = [
        relevance(context, reply),
        brevity(context, reply),
        repetition(reply),
        echo(context, reply),
    ]
    assert found == plain


@pytest.mark.parametrize("reply", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("context", [*ODD, ODD, []], ids=range(len(ODD) + 2))
async def test_odd_input(context, reply):
    """Whatever comes, a number from 0 to 1."""
    for metric in METRICS:
        assert 0.0 <= await metric.evaluate(context, reply) <= 1.0


@given(context=contexts, reply=any_text)
async def test_always_a_share(context, reply):
    """From 0 to 1, and the same number for the same arguments, remembered lines or not."""
    for metric in METRICS:
        found = await metric.evaluate(context, reply)
        assert 0.0 <= found <= 1.0
        forget()
        assert await metric.evaluate(context, reply) == found


@given(context=st.lists(any_text, max_size=MAX_LINES - 1), older=any_text, reply=any_text)
def test_older_lines_never_lower_relevance(context, older, reply):
    """A line before all others explains more of a reply or nothing, the reply's own words too."""
    plain = relevance(context, reply)
    assert relevance([older, *context], reply) >= plain - 1e-12
    assert relevance([reply, *context], reply) >= plain - 1e-12


@given(reply=any_text)
def test_a_line_is_an_echo_of_itself(reply):
    """A reply that has words, said before as it stands, is a whole echo."""
    assert echo([f"ann: {reply}"], reply) == (1.0 if tokens(reply) else 0.0)


def test_huge_input_takes_no_longer():
    """100 kB on both sides, and a hundred thousand lines, take milliseconds."""
    started = time.perf_counter()
    relevance("drums and guitars " * 6000, "drums and guitars " * 6000)
    relevance(["ann: drums and guitars"] * 100_000, "x" * 100_000)
    assert time.perf_counter() - started < 0.5


def milliseconds(call):
    """The processor's, the best of three; under coverage's tracer, which slows all, a sixth."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        call()
        taken.append(1000 * (time.process_time() - began))
    return min(taken) / (6 if sys.gettrace() else 1)


PIECES = ["a", "a ", "a, ", "A ", "Ab. ", "a'", "’", "?", ". ", "漢", "_", " ", "\n", "1 ", "é-"]


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5),
    st.sampled_from(["", "X", "? ", " Xy", ": x"]),
)
@settings(deadline=None, max_examples=100)
def test_no_text_takes_long(pieces, end):
    """A thousand characters of anything, in each function that reads a line."""
    text = ("".join(pieces) * 1000)[: 1000 - len(end)] + end
    for call in (brevity, echo):
        assert milliseconds(lambda call=call: call([text], text)) < 2
    assert milliseconds(lambda: repetition(text)) < 2
    forget()
    assert milliseconds(lambda: relevance([text], text)) < 2
    assert milliseconds(lambda: offered(text, [])) < 2
    assert milliseconds(lambda: called_for(text, tokens(text))) < 2


@pytest.mark.parametrize("text", ["a" * 100_000, "a " * 50_000, "漢" * 100_000, "a!" * 50_000])
def test_a_name_inside_is_looked_for_once(text):
    """From the first word on and in a part of the text, not from each letter to the end."""
    assert milliseconds(lambda: offered(text, [])) < 2


@pytest.mark.parametrize(
    ("text", "has_name"),
    [
        ("ask Rosalind", True),
        ("so, Rosalind!", True),
        ("1986, it was Bob", True),
        ("Rosalind", False),
        ("1986 Rosalind", False),
        ("well! Rosalind", False),
        ("ask  Rosalind", False),
        ("ask \tRosalind", False),
        ("no: (Rosalind) X", False),
        ("d' Artagnan", True),
        ("漢字 Bo", True),
        ("", False),
    ],
)
def test_a_name_inside(text, has_name):
    """A word with a capital after another word, with single spaces from one to the next."""
    assert ("words_of" in kinds_of(offered(text, tokens(text)))) is has_name


def unlike_lines(kind: str) -> list[str]:
    """Twenty lines and a reply, 500 characters each, of words that nobody has used before."""
    rng = random.Random(11)

    def word() -> str:
        if kind == "unspaced":
            return chr(rng.randrange(0x3400, 0x9FFF))
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 6))) + " "

    return ["ann: " + "".join(word() for _ in range(500))[:500] for _ in range(MAX_LINES + 1)]


@pytest.mark.parametrize("kind", ["spaced", "unspaced"])
def test_new_lines_take_little(kind):
    """On the way of a reply: twenty long lines read for the first time, none of a known word."""
    *lines, reply = unlike_lines(kind)

    def cold() -> None:
        forget()
        stem.cache_clear()
        relevance(lines, reply)

    assert milliseconds(cold) < 4  # about half of it; another machine may be slower


def test_the_memory_is_bounded():
    """Lines and words that were read are remembered up to a number of them."""
    for number in range(max(LINES_REMEMBERED, VOCABULARY) + 100):
        read(f"ann: word{number}")
    assert stem.cache_info().currsize <= VOCABULARY
    assert stem.cache_info().maxsize == VOCABULARY


def test_no_words_are_no_relevance():
    """Nothing said is about nothing; a reply against nothing stays low."""
    assert relevance(["ann: hi"], "") == 0.0
    assert relevance([], "The drummer left the band") < 0.4


@pytest.mark.parametrize(
    ("line", "better", "worse"),
    [
        ("ann: what year is this?", "1986, I think", "It rains all week, sadly"),
        ("ann: the drummer is insane", "That bass line too", "Onions go in first"),
        ("ann: hello everyone", "Welcome!", "Onions!"),
        ("ann: definately kubricks", "Kubrick, yes", "Onions, yes"),
        ("ann: don't touch the drums", "A guitar then", "An onion then"),
        ("ann: 漢字の映画", "映画はいい", "犬が好き"),
        ("ann_b: so tired", "Poor ann!", "Poor bob!"),
    ],
)
def test_what_counts(line, better, worse):
    """Form, groups, greetings, forms of a word, unspaced scripts and names each count."""
    assert relevance([line], better) > relevance([line], worse)


def test_newer_lines_count_more():
    """The same word weighs more where it was said last."""
    lines = ["ann: kubrick", *["bob: ok"] * 5]
    assert relevance(lines[::-1], "Kubrick") > relevance(lines, "Kubrick")


def test_the_last_twenty_lines_are_read():
    """Of a text or a list, the end."""
    lines = [f"ann: {number}" for number in range(30)]
    assert last_lines(lines) == last_lines("\n".join(lines)) == lines[-MAX_LINES:]


@pytest.mark.parametrize(
    ("word", "root"),
    [("bosses", "boss"), ("boss", "boss"), ("stopped", "stop"), ("calling", "call"),
     ("happy", "happi"), ("movie", "movi"), ("keys", "key"), ("ann's", "ann"), ("'", "'")],
)  # fmt: skip
def test_stems(word, root):
    """Forms of a word share a root, and short words keep theirs."""
    assert stem(word) == root


def test_groups_have_names():
    """Each group of the table is used, and can be named."""
    every = 0
    for mask in GROUPS_OF.values():
        every |= mask
    assert len(names_of(every)) == every.bit_length()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("how long is it", "number"),
        ("how are you?", "greeting"),
        ("is that him", "yes_no"),
        ("so is that him?", "yes_no"),
        ("why is it black", "reason"),
    ],
)
def test_what_is_called_for(text, kind):
    """Questions call for their kind of answer, and no more than they ask."""
    assert (kind in kinds_of(called_for(text, tokens(text)))) == (text != "how are you?")


def test_what_is_offered():
    """A name inside a sentence, a number word, the opening of a sentence."""
    text = "Well, ask Rosalind about three of them. Try it."
    kinds = kinds_of(offered(text, tokens(text)))
    assert {"person", "number", "advice", "suggestion"} <= set(kinds)


@pytest.mark.parametrize(("length", "expected"), [(0, 1.0), (140, 1.0), (280, 0.5), (1400, 0.1)])
def test_brevity(length, expected):
    """Short is 1, ten times as long is a tenth; where lines are long, more is short."""
    assert brevity([], "x" * length) == expected
    assert brevity(["y" * 1000], "x" * length) >= expected


async def test_embeddings():
    """One request with three texts; the nearer of the last line and the last lines counts."""
    asked = []

    async def embed(texts):
        asked.append(list(texts))
        return [[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]

    found = await EmbeddingRelevanceMetric(embed).evaluate(["a: x", " ", "b: y"], "z")
    assert asked == [["b: y", "a: x\nb: y", "z"]]
    assert found == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(("context", "reply"), [([], "hi"), ("hi", " "), ([" ", ""], "hi")])
async def test_embeddings_of_nothing(context, reply):
    """Where a side is blank, nothing is asked."""
    assert await EmbeddingRelevanceMetric(nothing).evaluate(context, reply) == 0.0


@pytest.mark.parametrize("vectors", [[[1.0]], [[], [], []], [[0.0], [0.0], [1.0]], []])
async def test_embeddings_that_are_useless(vectors):
    """Too few vectors, empty ones and zeros are no relevance."""

    async def embed(texts):
        return vectors

    assert await EmbeddingRelevanceMetric(embed).evaluate("hi", "ho") == 0.0
