"""Lines that were sent and not yet seen to arrive (behaviour, section 8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.decisions import DecisionRecord
from llm_bot.room.confirmations import MAX_UNCONFIRMED, Confirmations, Sent


def sent(text: str = "hi", to: str = "") -> Sent:
    return Sent(to, text, DecisionRecord("id-1", "MyChannel", "alice", 0.0, "chat", None))


def waiting(*lines: Sent) -> Confirmations:
    found = Confirmations()
    for line in lines:
        assert found.expect(line) is None
    return found


# Five lines under way: two public, one to alice, two to bob.
LINES = [("", "one"), ("Alice", "two"), ("", "three"), ("bob", "four"), ("bob", "five")]


class TestConfirm:
    """The oldest unconfirmed send to that room and target, equal text first (SEND-12)."""

    @pytest.mark.parametrize(
        ("to", "text", "confirmed"),
        [
            pytest.param("", "one", 0, id="the-oldest"),
            pytest.param("", "three", 2, id="equal-text-first"),
            pytest.param("", "cut or filtered", 0, id="another-text-confirms-the-oldest"),
            pytest.param("alice", "two", 1, id="private-in-any-case"),
            pytest.param("bob", "two", 3, id="never-another-target"),
            pytest.param("bob", "five", 4, id="private-equal-text-first"),
            pytest.param("carol", "one", None, id="nobody-it-was-sent-to"),
        ],
    )
    def test_one_line_came_back(self, to: str, text: str, confirmed: int | None) -> None:
        """Just one send is settled by a line that came back; the others go on waiting."""
        lines = [sent(text, to) for to, text in LINES]
        found = waiting(*lines)
        result = found.confirm(to, text)
        assert result is (None if confirmed is None else lines[confirmed])
        assert [line.is_settled for line in lines] == [at == confirmed for at in range(len(lines))]
        assert len(found) == len(LINES) - (confirmed is not None)

    def test_once_each(self) -> None:
        """Two sends of equal text take two lines that come back, the older one first."""
        first, second = sent(), sent()
        found = waiting(first, second)
        assert [found.confirm("", "hi") for _ in range(3)] == [first, second, None]


class TestRefuse:
    """Negative evidence is held against the oldest send, of the kind that was refused if known."""

    @pytest.mark.parametrize(
        ("private", "refused"),
        [
            pytest.param(None, 0, id="unknown-kind"),
            pytest.param(False, 0, id="public"),
            pytest.param(True, 1, id="private"),
        ],
    )
    def test_oldest(self, private: bool | None, refused: int) -> None:
        """Just one send is settled by a refusal."""
        lines = [sent(text, to) for to, text in LINES]
        found = waiting(*lines)
        assert found.refuse(private=private) is lines[refused]
        assert [at for at, line in enumerate(lines) if line.is_settled] == [refused]
        assert len(found) == len(LINES) - 1

    @pytest.mark.parametrize("private", [None, False, True], ids=repr)
    def test_nothing_under_way(self, private: bool | None) -> None:
        """A refusal when nothing was sent is about somebody else's line."""
        assert Confirmations().refuse(private=private) is None

    def test_no_send_of_that_kind(self) -> None:
        """A refused private message says nothing about a public line."""
        line = sent()
        found = waiting(line)
        assert found.refuse(private=True) is None
        assert not line.is_settled
        assert len(found) == 1


class TestQueue:
    """The sends wait oldest first, and only so many."""

    def test_too_many(self) -> None:
        """Of too many unconfirmed sends the oldest is handed back, unsettled."""
        lines = [sent(str(number)) for number in range(MAX_UNCONFIRMED + 1)]
        found = waiting(*lines[:-1])
        assert found.expect(lines[-1]) is lines[0]
        assert not lines[0].is_settled
        assert len(found) == MAX_UNCONFIRMED

    def test_forget(self) -> None:
        """What was not sent after all isn't waited for; forgetting it twice changes nothing."""
        first, second = sent(), sent()
        found = waiting(first, second)
        found.forget(second)
        found.forget(second)
        assert len(found) == 1
        assert not second.is_settled
        assert found.confirm("", "hi") is first

    def test_pop(self) -> None:
        """The oldest comes out first; an empty queue raises."""
        first, second = sent("1"), sent("2")
        found = waiting(first, second)
        assert [found.pop(), found.pop()] == [first, second]
        with pytest.raises(IndexError):
            found.pop()

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["expect", "confirm", "refuse", "forget"]),
                st.sampled_from(["", "a", "A"]),
                st.sampled_from("xy"),
            )
        )
    )
    def test_any_mix(self, steps: list[tuple[str, str, str]]) -> None:
        """After any mix each send waits, or was settled once, or was forgotten."""
        found, lines, forgotten = Confirmations(), [], set()
        for step, to, text in steps:
            if step == "expect":
                lines.append(sent(text, to))
                found.expect(lines[-1])
            elif step == "confirm":
                result = found.confirm(to, text)
                assert result is None or result.to.lower() == to.lower()
            elif step == "refuse":
                found.refuse(private=bool(to))
            elif lines:
                waits = len(found)
                found.forget(lines[-1])
                if len(found) < waits:
                    forgotten.add(id(lines[-1]))
            settled = sum(line.is_settled for line in lines)
            assert len(found) + settled + len(forgotten) == len(lines)
