"""Behaviour 4, the conditions of the triggers: what is a mention, a keyword, a private message."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_bot.config import KeywordTriggerConfig
from llm_bot.triggers.base import WholeWords
from llm_bot.triggers.keyword import KeywordTrigger
from llm_bot.triggers.mention import MentionTrigger
from llm_bot.triggers.pm import PmTrigger
from tests.unit.builders import line, pm


def keyword(*keywords: str, **changes) -> KeywordTrigger:
    config = KeywordTriggerConfig(type="keyword", keywords=keywords, **changes)
    return KeywordTrigger(config, "keyword-0")


class TestMention:
    """The bot's name, an alias, or either with a leading `@`, as whole words, any case (TRIG-2)."""

    @pytest.mark.parametrize(
        ("names", "text"),
        [
            pytest.param(["bot"], "hey bot", id="end"),
            pytest.param(["bot"], "bot", id="alone"),
            pytest.param(["bot"], "BOT, wake up", id="capitals"),
            pytest.param(["BOT"], "bot, wake up", id="capitals-in-the-name"),
            pytest.param(["bot"], "both of you: bot!", id="after-a-longer-word"),
            pytest.param(["bot"], "robot bot", id="after-a-word-that-ends-so"),
            pytest.param(["bot"], "what a bot's life", id="apostrophe"),
            pytest.param(["bot"], "a bot-like thing", id="hyphen"),
            pytest.param(["bot"], "(bot)", id="brackets"),
            pytest.param(["MyBot"], "@MyBot, what is this?", id="at-and-comma"),
            pytest.param(["MyBot"], "MyBot: what is this?", id="colon"),
            pytest.param(["MyBot"], "thanks mybot.", id="full-stop"),
            pytest.param(["@MyBot"], "mybot?", id="name-with-an-at"),
            pytest.param(["@MyBot"], "@mybot?", id="name-with-an-at-both"),
            pytest.param(["MyBot", "toaster"], "that toaster again", id="alias"),
            pytest.param(["MyBot", "toaster"], "@toaster", id="alias-with-at"),
            pytest.param(["MyBot", "Mr. Bot"], "oh mr. bot, really", id="alias-of-two-words"),
            pytest.param(["MyBot", "Mr.  Bot"], "oh mr. bot, really", id="alias-with-odd-spaces"),
            pytest.param(["-bot-"], "hi -bot-!", id="non-word-edges"),
            pytest.param(["-bot-"], "hi @-bot-", id="non-word-edges-with-at"),
            pytest.param(["B-0.t"], "well b-0.t, what now", id="non-word-inside"),
            pytest.param(["c++"], "ask c++ about it", id="plus"),
            pytest.param(["b(o"], "b(o!", id="open-bracket"),
            pytest.param(["[x]|y*"], "so [X]|Y*: go", id="metacharacters"),
            pytest.param(["bot\\d"], "bot\\d?", id="backslash"),
            pytest.param(["Zoë"], "ZOË?", id="accent"),
            pytest.param(["Ночь"], "привет, ночь!", id="cyrillic"),
            pytest.param(["ΝΙΚΟΣ"], "γεια νικος", id="final-sigma"),
            pytest.param(["İbot"], "hey İBOT", id="dotted-capital-i"),
            pytest.param(["İbot"], "@İbot,", id="dotted-capital-i-with-at"),
            pytest.param(["ali"], "ALİ!", id="dotted-capital-i-in-the-text"),
            pytest.param(["🤖"], "hi 🤖🤖", id="emoji"),
        ],
    )
    def test_fires(self, names, text):
        assert MentionTrigger(names).match(line(text)) is not None

    @pytest.mark.parametrize(
        ("names", "text"),
        [
            pytest.param(["bot"], "both of you", id="both"),
            pytest.param(["bot"], "a robot film", id="robot"),
            pytest.param(["bot"], "both robots, ROBOT, bot_2, bot2", id="all-of-these"),
            pytest.param(["bot"], "MyBot!", id="part-of-another-name"),
            pytest.param(["MyBot"], "my bot", id="two-words"),
            pytest.param(["MyBot"], "@MyBotty", id="at-and-longer"),
            pytest.param(["MyBot"], "", id="empty"),
            pytest.param(["B.t"], "bot", id="dot-is-a-dot"),
            pytest.param(["bot*"], "botttt bot", id="star-is-a-star"),
            pytest.param(["a|b"], "a b", id="bar-is-a-bar"),
            pytest.param(["-bot-"], "bot", id="edges-belong-to-the-name"),
            pytest.param(["-bot-"], "x-bot-", id="word-before-an-odd-edge"),
            pytest.param(["bot"], "öbot botß", id="letters-of-other-alphabets"),
            pytest.param(["ночь"], "полночь", id="cyrillic"),
            pytest.param(["@"], "@ you all", id="nothing-but-an-at"),
            pytest.param([], "bot", id="no-name"),
        ],
    )
    def test_does_not_fire(self, names, text):
        assert MentionTrigger(names).match(line(text)) is None

    def test_it_says_which_name_it_found(self):
        trigger = MentionTrigger(["MyBot", "toaster"])
        assert trigger.match(line("Hello @Toaster")) == "toaster"


class TestKeyword:
    """Words or phrases, whole words, any case unless `case_sensitive`; substrings on request."""

    @pytest.mark.parametrize(
        ("trigger", "text", "found"),
        [
            pytest.param(keyword("help"), "HELP me", "help", id="any-case"),
            pytest.param(keyword("help"), "helpless", None, id="whole-words"),
            pytest.param(keyword("bot help"), "some bot help, please", "bot help", id="phrase"),
            pytest.param(keyword("bot help"), "bot, help", None, id="phrase-as-it-stands"),
            pytest.param(keyword(" bot \t  help\n"), "Bot help!", "bot help", id="odd-spaces"),
            pytest.param(keyword("a", "b"), "so b it is", "b", id="any-of-them"),
            pytest.param(keyword("a", "b"), "so b and a", "b", id="the-first-that-stands-there"),
            pytest.param(keyword("bot", "bot help"), "bot help", "bot help", id="the-longest"),
            pytest.param(keyword("Help", case_sensitive=True), "Help me", "Help", id="same-case"),
            pytest.param(keyword("Help", case_sensitive=True), "help me", None, id="other-case"),
            pytest.param(keyword("elp m", match="substring"), "Help me", "elp m", id="substring"),
            pytest.param(
                keyword("ELP", match="substring"), "Help me", "elp", id="substring-any-case"
            ),
            pytest.param(
                keyword("ELP", match="substring", case_sensitive=True),
                "Help me",
                None,
                id="substring-other-case",
            ),
            pytest.param(
                keyword("Hel", match="substring", case_sensitive=True),
                "Help me",
                "Hel",
                id="substring-same-case",
            ),
            pytest.param(
                keyword("p   m", match="substring"), "Help me", "p m", id="substring-odd-spaces"
            ),
            pytest.param(keyword("x", match="substring"), "Help me", None, id="no-substring"),
            pytest.param(
                keyword("zz", "lp", match="substring"), "Help", "lp", id="any-of-the-substrings"
            ),
            pytest.param(keyword("what?!"), "so what?! no", "what?!", id="punctuation"),
        ],
    )
    def test_match(self, trigger, text, found):
        assert trigger.match(line(text)) == found

    def test_each_has_the_key_that_it_was_given(self):
        config = KeywordTriggerConfig(type="keyword", keywords=("a",))
        assert KeywordTrigger(config, "keyword-3").key == "keyword-3"


class TestPm:
    """Every private message to the bot."""

    @pytest.mark.parametrize("text", ["MyBot", "no name in it", "?"])
    def test_every_one_fires(self, text):
        assert PmTrigger().match(pm(text)) == "alice"


class TestWholeWords:
    """The quick look for substrings changes nothing about what is found."""

    @pytest.mark.parametrize(
        ("phrases", "text", "found"),
        [
            pytest.param(
                ("bot", "robot helper"), "the robot helper bot", "robot helper", id="both-stand"
            ),
            pytest.param(
                ("robot helper", "bot"), "the robot helpers bot", "bot", id="longer-one-is-a-part"
            ),
            pytest.param(("aa", "b"), "aaa b", "b", id="first-one-only-in-a-word"),
            pytest.param(("a a a", "a a"), "a a ab", "a a", id="longest-fails-at-its-end"),
            pytest.param(("help me", "me help"), "xhelp me help", "me help", id="overlapping"),
            pytest.param(("-", "a-"), "a-b - c", "-", id="edges-that-are-no-words"),
            pytest.param(("", "  "), "anything", None, id="blank-phrases"),
            pytest.param((), "anything", None, id="no-phrases"),
        ],
    )
    def test_a_phrase_inside_a_word_hides_no_other(self, phrases, text, found):
        assert WholeWords(phrases).find(text) == found

    @given(
        phrases=st.lists(st.text(alphabet="abİß_-.( ", max_size=4), max_size=4),
        text=st.text(alphabet="abİß_-.( ", max_size=16),
        ignore_case=st.booleans(),
    )
    @example(phrases=["bot", "robot helper"], text="the robot helper bot", ignore_case=True)
    @example(phrases=["ba", "aba b"], text="aba ba", ignore_case=True)
    def test_it_agrees_with_looking_at_every_place(self, phrases, text, ignore_case):
        folded = text.lower() if ignore_case else text
        expected = _look_at_every_place(phrases, folded, ignore_case=ignore_case)
        assert WholeWords(phrases, ignore_case=ignore_case).find(folded) == expected

    @given(
        phrase=st.text(min_size=1, max_size=6),
        before=st.text(max_size=6),
        after=st.text(max_size=6),
    )
    def test_any_phrase_of_any_characters_is_found_between_spaces(self, phrase, before, after):
        words = " ".join(phrase.split())
        text = " ".join([before, words, after]).lower()
        # A sigma's small form depends on what is around it.
        if words and "Σ" not in words:
            assert WholeWords([phrase]).find(text) is not None


def _look_at_every_place(phrases, text, *, ignore_case):
    """The leftmost phrase that stands alone, of those that begin there the longest."""
    wanted = {" ".join(phrase.split()) for phrase in phrases} - {""}
    if ignore_case:
        wanted = {phrase.lower() for phrase in wanted}
    for start in range(len(text)):
        standing = [
            phrase
            for phrase in wanted
            if text.startswith(phrase, start)
            and not _is_word(text[start - 1 : start])
            and not _is_word(text[start + len(phrase) : start + len(phrase) + 1])
        ]
        if standing:
            return max(standing, key=len)
    return None


def _is_word(character):
    return bool(re.fullmatch(r"\w", character))
