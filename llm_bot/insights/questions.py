"""Questions that nobody answers. Pure.

A rule of thumb that rather misses one than blames a room that answered in its own way.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec

from llm_bot.evaluation.exchanges import called_for, offered
from llm_bot.evaluation.words import tokens
from llm_bot.insights.topics import Spoken, telling_words

ANSWER_SECONDS = 120.0
"""A question that nobody has answered for so long stays unanswered, as a rule: chat moves on."""

ANSWER_LINES = 20
"""So many lines of others, and it has scrolled away."""

OPEN_QUESTIONS = 16
"""Watched at a time, one for each person; the oldest goes first, and nothing is told of it."""

ANSWERED_KEPT = 64

MOST_WORDS_TOLD = 5

_END_CHARACTERS = 60
"""Where a question mark is looked for: after it come only signs and emoji."""

# Nothing in these can be read in two ways: a line of chat must not be able to take long.
_MARK = re.compile(r"[?？؟][^\w?？؟]*$")
_CALLED = re.compile(
    r"[^\s,:]{1,26}[,:]\s*|(?:hey|ok|okay|so|and|also|but|well|wait|please|@\S+)\s+", re.IGNORECASE
)
_WORDS_TO_ASK_WITH = re.compile(
    r"(?:(?:who|whose|what|which|why|how|where|when)(?:'s|’s|'re|’re|\s+"
    r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had))"
    r"|(?:what|which|whose|how)\s+(?!(?:a|an|the|i|you|he|she|it|we|they|this|that)\s)\w+\s+"
    r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had))\b",
    re.IGNORECASE,
)
_SETTLED = re.compile(
    r"\b(?:never ?mind|nvm|thanks|thank you|thx|ty|found it|got it|danke|gracias)\b", re.IGNORECASE
)
_NAME_PARTS = re.compile(r"[^\W\d_]{3,}")

MOST_WORDS = 12
"""A line without a question mark that begins like a question is one only up to this length."""


def is_question(text: str) -> bool:
    """Whether a line asks for something: it ends with a question mark, whatever sign or emoji
    follows, or is short and begins, after an address, with words to ask with (in English). One
    word alone, "what?", belongs to what was said before.

    >>> [is_question(line) for line in ("is it over? 😱", "ok Reel, what is playing now", "why?")]
    [True, True, False]
    >>> [is_question(line) for line in ("what a film", "did you say ? no!", "how it is made")]
    [False, False, False]
    """
    words = tokens(text)
    if len(words) < 2:
        return False
    if _MARK.search(text[-_END_CHARACTERS:]):
        return True
    return len(words) <= MOST_WORDS and _begins_to_ask(text)


def _begins_to_ask(text: str) -> bool:
    """Whether words to ask with follow the names that are called first, at most `MOST_WORDS`."""
    at = 0
    for _ in range(MOST_WORDS):
        if not (called := _CALLED.match(text, at)):
            break
        at = called.end()
    return _WORDS_TO_ASK_WITH.match(text, at) is not None


class Unanswered(msgspec.Struct, frozen=True):
    """Nobody answered `asked`, whose telling words are `words`."""

    asked: Spoken
    words: tuple[str, ...]


class _Open(msgspec.Struct):
    """A question, and how many lines others have said since."""

    asked: Spoken
    words: dict[str, str]
    calls_for: set[str]
    names: frozenset[str]
    lines: int = 0


class QuestionWatch:
    """Tells of questions that nobody answered in `ANSWER_LINES` lines of others or
    `ANSWER_SECONDS`.

    Any line of anybody else that looks like an answer is one: it names who asked, shares a telling
    word with the question, or has the form of what was asked for (a number, a yes or no, a reason).
    So is a reply of the bot's to that line, whatever its words. Whoever asked ends it by saying
    thanks or never mind, and by asking something else.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` are the bot's: a question isn't about them."""
        self._names = frozenset(root for name in names for root in telling_words(name))
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._answered: deque[str] = deque(maxlen=ANSWERED_KEPT)

    def note(self, line: Spoken) -> list[Unanswered]:
        """Take one more line; the questions that have stayed unanswered by now."""
        late = self.tick(line.time)
        speaker = line.user.lower()
        if speaker in self._open and _SETTLED.search(line.text):
            del self._open[speaker]
        if self._open:
            late += self._hear(line, speaker)
        if not line.is_own and is_question(line.text):
            self._ask(line, speaker)
        return late

    def note_answered(self, correlation_id: str) -> None:
        """The bot has answered that line, be it noted already or not."""
        self._answered.append(correlation_id)
        for user, one in list(self._open.items()):
            if one.asked.correlation_id == correlation_id:
                del self._open[user]

    def tick(self, now: float) -> list[Unanswered]:
        """The questions that have waited too long at epoch time `now`."""
        late = [user for user, one in self._open.items() if now - one.asked.time >= ANSWER_SECONDS]
        return [self._give_up(user) for user in late]

    def _give_up(self, user: str) -> Unanswered:
        one = self._open.pop(user)
        return Unanswered(one.asked, tuple(one.words.values())[:MOST_WORDS_TOLD])

    def _hear(self, line: Spoken, speaker: str) -> list[Unanswered]:
        words = tokens(line.text)
        roots = telling_words(line.text)
        offers = offered(line.text, words)
        late = []
        for user, one in list(self._open.items()):
            if user == speaker:
                continue
            is_named = not one.names.isdisjoint(words)
            if is_named or offers & one.calls_for or not one.words.keys().isdisjoint(roots):
                del self._open[user]
                continue
            one.lines += 1
            if one.lines >= ANSWER_LINES:
                late.append(self._give_up(user))
        return late

    def _ask(self, line: Spoken, speaker: str) -> None:
        self._open.pop(speaker, None)
        if line.correlation_id and line.correlation_id in self._answered:
            return
        words = telling_words(line.text)
        about = {root: word for root, word in words.items() if root not in self._names}
        calls_for = called_for(line.text, tokens(line.text))
        self._open[speaker] = _Open(line, about, calls_for, _parts(speaker))
        if len(self._open) > OPEN_QUESTIONS:
            self._open.popitem(last=False)


def _parts(user: str) -> frozenset[str]:
    """What a user (in lower case) may be called: the name, and longer parts of it.

    >>> sorted(_parts("tinfoil_tess"))
    ['tess', 'tinfoil', 'tinfoil_tess']
    """
    return frozenset((user, *_NAME_PARTS.findall(user)))
