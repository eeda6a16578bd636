"""What the demo writes to a terminal, and what it takes from one."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.demo.casting import RECORDED_BOT, recast
from llm_bot.demo.film_clock import FilmClock
from llm_bot.demo.recording import film_night
from llm_bot.demo.setting import read_setting
from llm_bot.demo.terminal.screen import (
    MAX_TYPED_CHARACTERS,
    Screen,
    Typing,
    columns,
    harmless,
    wrapped,
)


@given(st.text())
def test_nothing_that_a_terminal_acts_upon_is_left(text):
    """Whatever a user writes, only printable characters are shown."""
    assert harmless(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("a\r\nb\tc", "a  b c"),
        ("\u202eevil\u2066", "evil"),
        ("z" + "\u0301" * 50, "z\u0301"),
        ("ünï 漢字 😱", "ünï 漢字 😱"),
    ],
)
def test_hostile_text_is_shown_as_text(text, shown):
    """Escape sequences lose their escape, direction marks go, accents don't pile up."""
    assert harmless(text) == shown


@given(st.text(alphabet="ab 漢😱é\u0301-", max_size=80), st.integers(4, 30))
def test_no_row_is_wider_than_it_may_be(text, width):
    """Wide characters count twice, and nothing but white space is lost."""
    rows = wrapped(text, width)
    assert all(columns(row) <= width for row in rows)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")


def test_rows_break_between_words():
    """A word is cut only when it is longer than a row."""
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("abcdefgh ij", 3) == ["abc", "def", "gh", "ij"]
    assert wrapped("", 5) == [""]


@pytest.mark.parametrize(
    ("typed", "lines", "left"),
    [
        (b"hello\nwor", ["hello"], "wor"),
        (b"abc\x7f\x7fd\r", ["ad"], ""),
        (b"one two\x17x\n", ["one x"], ""),
        (b"gone\x15kept", [], "kept"),
        (b"a\x1b[Ab\x1b[1;5Cc\x1bOP\n", ["abc"], ""),
        ("ü😱\n".encode(), ["ü😱"], ""),
        (b"\xff\x00\x07x\n", ["\ufffdx"], ""),
    ],
)
def test_a_line_is_typed_and_mended(typed, lines, left):
    """Enter ends it; backspace, Ctrl-U and Ctrl-W mend it; arrows and controls are nothing."""
    typing = Typing()
    assert typing.feed(typed) == lines
    assert typing.text == left


def test_what_arrives_in_pieces_is_put_together():
    """A letter or a key may come in two reads."""
    typing = Typing()
    pieces = [bytes([byte]) for byte in "é\x1b[A😱\n".encode()]
    assert [line for piece in pieces for line in typing.feed(piece)] == ["é😱"]


def test_a_typed_line_is_bounded():
    """A book that is pasted in fills no memory."""
    typing = Typing()
    typing.feed(b"x" * 100_000)
    assert len(typing.text) == MAX_TYPED_CHARACTERS


def test_ctrl_d_leaves_only_from_an_empty_line():
    """As in a shell."""
    typing = Typing()
    typing.feed(b"x\x04")
    assert not typing.is_ended
    typing.feed(b"\x7f\x04")
    assert typing.is_ended


def test_rows_go_above_what_is_being_typed():
    """The line is wiped, the rows are written, and the line stands below them again."""
    stream = io.StringIO()
    screen = Screen(stream, has_colour=False, on_close=lambda: None)
    screen.typing, screen.label = Typing(), "you ›"
    screen.typing.feed(b"hal")
    screen.show("row")
    assert stream.getvalue() == "\r\x1b[Krow\nyou › hal"


def test_no_colour_means_no_escapes():
    """Where colours aren't wanted there is plain text."""
    screen = Screen(io.StringIO(), has_colour=False, on_close=lambda: None)
    assert screen.paint("text", "1;31") == "text"


def test_a_reader_who_leaves_closes_the_screen_once():
    """`| head` ends the demo, not a traceback."""

    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    closed = []
    screen = Screen(Gone(), has_colour=False, on_close=lambda: closed.append(True))
    screen.show("one")
    screen.show("two")
    assert screen.is_closed
    assert closed == [True]


def test_the_film_night_is_played_with_another_bot():
    """Channel, domain and the bot's name are the configuration's, in every line and subject."""
    recorded = film_night()
    events = recast(recorded, channel="Cellar", domain="chat.example", bot_name="Projector")
    rooms = [event for event in events if event.is_enveloped]
    assert {(event.data["channel"], event.data["domain"]) for event in rooms} == {
        ("Cellar", "chat.example")
    }
    assert all(".cellar." in event.subject for event in rooms)
    texts = "\n".join(str(event.data) for event in events)
    assert not re.search(rf"(?<!\w){RECORDED_BOT}(?!\w)", texts, re.IGNORECASE)
    assert "Projector, is it always this loud" in texts
    assert "surreel" in texts


def test_the_film_night_with_its_own_bot_is_as_recorded():
    """Even how people spell its name."""
    recorded = film_night()
    assert recast(recorded, channel="FilmNight", domain="cytube.example", bot_name="Reel") == (
        recorded
    )


def test_film_time_passes_faster_and_never_jumps():
    """`rate` times as fast, both clocks alike, and on from where it was after a change."""
    clock = FilmClock(1000.0)
    before, epoch_before = clock.monotonic(), clock.time()
    clock.change_rate(1e-9)
    after, epoch_after = clock.monotonic(), clock.time()
    assert before <= after
    assert epoch_after - epoch_before == pytest.approx(after - before, abs=0.5)
    assert clock.monotonic() == pytest.approx(after, abs=1e-6)


def test_a_configuration_is_made_fit_for_the_film_night(tmp_path):
    """One room, not silenced, whatever the dialect, no server; a model keeps its real time."""
    path = tmp_path / "config.yaml"
    path.write_text(
        """
nats: {servers: ["nats://127.0.0.1:4222"], dialect: plain}
channels: [{name: Closed, enabled: false}, {name: Cellar, silenced: true}]
bot: {username: Projector}
dry_run: true
llm_api:
  provider: ollama
  base_url: http://127.0.0.1:11434/v1
  model: m
  timeout_seconds: 20
  fallbacks: [{provider: ollama, base_url: "http://127.0.0.1:1/v1", model: n}]
"""
    )
    setting = read_setting(path, 2.5)
    config = setting.config
    assert (setting.channel, setting.domain, setting.bot_name) == (
        "Cellar",
        "cytube.example",
        "Projector",
    )
    assert not setting.is_stand_in
    assert [(one.enabled, one.silenced) for one in config.channels] == [(True, False)]
    assert (config.nats.dialect, config.health.enabled, config.dry_run) == ("auto", False, False)
    assert (config.llm_api.timeout_seconds, config.llm_api.fallbacks[0].timeout_seconds) == (50, 75)
    assert config.replies.deadline_seconds == 112.5
