"""The metrics of a reply: their shape, their bounds, and what they promise for odd input."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import random
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
from llm_bot.evaluation.exchanges import called_for, offered
from llm_bot.evaluation.lines import LINES_REMEMBERED, MAX_LINES, last_lines, read
from llm_bot.evaluation.words import VOCABULARY, stem, tokens
from tests.timing import is_cheap

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
ODD = (
    *("", " \n\t ", "😂😂😂", "\u200b\u200d", "\ud800", "\x00", "???", ":", "a:", "'''", "’s"),
    *("İstanbul ǅ ß", "漢字かな交じり文", "漢", "x" * 100_000, "word " * 20_000, "\n" * 100_000),
    *("(" * 100_000, "a" + "\u0301" * 50_000),
)
WORDS = """the film was great who is he u ann bob drummer drums 1986 how long? why because tea
    Hello thanks! it you plant garden died sorry Zürich perro ok lol stream refresh don't"""
some_words = st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join)
any_text = st.one_of(st.text(max_size=80), some_words, st.builds("ann: {}".format, some_words))
contexts = st.one_of(any_text, st.lists(any_text, max_size=25))


@pytest.mark.parametrize("name", ["llm_bot.evaluation", *MODULES])
def test_a_module_stands_alone(name):
    """Nothing of the bot, no clock, chance or log; files only for the words. Its examples hold."""
    allowed = {"__future__", "collections", "functools", "itertools", "math", "re", "typing"}
    if name.endswith(".vocabulary"):
        allowed |= {"pathlib", "tomllib"}
    module = importlib.import_module(name)
    for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text())):
        if isinstance(node, ast.ImportFrom):
            home = node.module or ""
            assert home.startswith("llm_bot.evaluation.") or home.split(".")[0] in allowed
        elif isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= allowed
    assert doctest.testmod(module).failed == 0


async def test_the_shape_is_that_of_the_functions():
    """`evaluate` gives what the plain function gives."""
    context, reply = ["ann: so good so good"], "so good so good so good"
    found = [await metric.evaluate(context, reply) for metric in METRICS]
    plain = (relevance(context, reply), brevity(context, reply), repetition(reply))
    assert found == [*plain, echo(context, reply)]


@pytest.mark.parametrize("context", [*ODD, ODD, []], ids=range(len(ODD) + 2))
async def test_odd_input(context):
    """Whatever comes, a number from 0 to 1."""
    for reply in ODD:
        for metric in METRICS:
            assert 0.0 <= await metric.evaluate(context, reply) <= 1.0


@given(context=contexts, reply=any_text)
async def test_always_a_share(context, reply):
    """From 0 to 1, and the same number for the same arguments, remembered lines or not."""
    for metric in METRICS:
        found = await metric.evaluate(context, reply)
        assert 0.0 <= found <= 1.0
        read.cache_clear()
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


# --- what it costs ---

PIECES = ["a", "a ", "a, ", "A ", "Ab. ", "a'", "’", "?", ". ", "漢", "_", " ", "\n", "1 ", "é-"]


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5),
    st.sampled_from(["", "X", "? ", " Xy", ": x"]),
    st.sampled_from([1000, 100_000]),
)
@settings(deadline=None, max_examples=60)
def test_no_text_takes_long(pieces, end, length):
    """Thousands of characters of anything, in each function that reads a line."""
    text = ("".join(pieces) * length)[: length - len(end)] + end

    def all_of_it() -> None:
        read.cache_clear()
        for context in ([text], text, [text[:1000]] * 1000):
            relevance(context, text)
        brevity([text], text), echo([text], text), repetition(text)
        offered(text, []), called_for(text[:1000], tokens(text))

    assert is_cheap(all_of_it, 300)


@pytest.mark.parametrize("kind", ["spaced", "unspaced"])
def test_new_lines_take_little(kind):
    """On the way of a reply: twenty long lines read for the first time, none of a known word."""
    rng = random.Random(11)

    def word() -> str:
        if kind == "unspaced":
            return chr(rng.randrange(0x3400, 0x9FFF))
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 6))) + " "

    lines = ["ann: " + "".join(word() for _ in range(500))[:500] for _ in range(MAX_LINES + 1)]

    def cold() -> None:
        read.cache_clear()
        stem.cache_clear()
        relevance(lines[1:], lines[0])

    assert is_cheap(cold, 200)


def test_the_memory_is_bounded():
    """Lines and words that were read are remembered up to a number of them."""
    for number in range(max(LINES_REMEMBERED, VOCABULARY) + 100):
        read(f"ann: word{number}")
    assert read.cache_info().currsize <= LINES_REMEMBERED
    assert stem.cache_info().currsize <= VOCABULARY


# --- what counts ---


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
def test_what_makes_a_reply_relevant(line, better, worse):
    """Form, groups, greetings, forms of a word, unspaced scripts and names each count."""
    assert relevance([line], better) > relevance([line], worse)


def test_newer_lines_count_more():
    """The same word weighs more where it was said last; of a text or a list the end is read."""
    lines = ["ann: kubrick", *["bob: ok"] * 5]
    assert relevance(lines[::-1], "Kubrick") > relevance(lines, "Kubrick")
    many = [f"ann: {number}" for number in range(30)]
    assert last_lines(many) == last_lines("\n".join(many)) == many[-MAX_LINES:]


@pytest.mark.parametrize(
    ("word", "root"),
    [("bosses", "boss"), ("boss", "boss"), ("stopped", "stop"), ("calling", "call"),
     ("happy", "happi"), ("movie", "movi"), ("keys", "key"), ("ann's", "ann"), ("'", "'")],
)  # fmt: skip
def test_stems(word, root):
    """Forms of a word share a root, and short words keep theirs."""
    assert stem(word) == root


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("how long is it", {"number", "advice"}),
        ("how are you?", {"advice"}),
        ("is that him", {"yes_no"}),
        ("so is that him?", {"yes_no"}),
        ("why is it black", {"reason"}),
    ],
)
def test_what_is_called_for(text, kinds):
    """Questions call for their kind of answer, and no more than they ask."""
    assert called_for(text, tokens(text)) == kinds


def test_what_is_offered():
    """A name inside a sentence, a number word, the opening of a sentence."""
    text = "Well, ask Rosalind about three of them. Try it."
    assert {"person", "number", "advice", "suggestion"} <= offered(text, tokens(text))


@pytest.mark.parametrize(
    ("text", "has_name"),
    [
        *(("ask Rosalind", True), ("so, Rosalind!", True), ("1986, it was Bob", True)),
        *(("Rosalind", False), ("1986 Rosalind", False), ("well! Rosalind", False)),
        *(("ask  Rosalind", False), ("ask \tRosalind", False), ("no: (Rosalind) X", False)),
        *(("d' Artagnan", True), ("漢字 Bo", True), ("", False)),
    ],
)
def test_a_name_inside(text, has_name):
    """A word with a capital after another word, with single spaces from one to the next."""
    assert ("words_of" in offered(text, tokens(text))) is has_name


@pytest.mark.parametrize(("length", "expected"), [(0, 1.0), (140, 1.0), (280, 0.5), (1400, 0.1)])
def test_brevity(length, expected):
    """Short is 1, ten times as long is a tenth; where lines are long, more is short."""
    assert brevity([], "x" * length) == expected
    assert brevity(["y" * 1000], "x" * length) >= expected


NEAREST = [[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]
USELESS: list[list[list[float]]] = [[[1.0]], [[], [], []], [[0.0], [0.0], [1.0]], []]


@pytest.mark.parametrize(
    ("context", "reply", "vectors", "asked", "expected"),
    [
        (["a: x", " ", "b: y"], "z", NEAREST, [["b: y", "a: x\nb: y", "z"]], 0.5**0.5),
        *(([], "hi", [], [], 0), ("hi", " ", [], [], 0), ([" ", ""], "hi", [], [], 0)),
        *(("hi", "ho", useless, [["hi", "hi", "ho"]], 0) for useless in USELESS),
    ],
)
async def test_embeddings(context, reply, vectors, asked, expected):
    """One request with three texts; the nearer of the last line and the last lines counts. Where
    a side is blank nothing is asked; too few vectors, empty ones and zeros are no relevance."""
    requests = []

    async def embed(texts):
        requests.append(list(texts))
        return vectors

    found = await EmbeddingRelevanceMetric(embed).evaluate(context, reply)
    assert found == pytest.approx(expected)
    assert requests == asked
