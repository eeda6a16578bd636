"""Who is here (behaviour, section 2, "Roster")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.models import Person, PersonChanged
from llm_bot.room import roster as roster_module
from llm_bot.room.roster import MAX_PEOPLE, Roster

ALICE = Person("Alice", 2.0, is_afk=True, is_muted=True)


def roster(*people: Person) -> Roster:
    found = Roster()
    found.replace(people)
    return found


class TestWhoIsHere:
    """Lists, arrivals and departures; names are compared without case."""

    def test_unknown_at_first(self) -> None:
        """Before a list was heard the roster is unknown, even if somebody came."""
        found = Roster()
        found.join(ALICE)
        assert not found.is_known
        found.replace([])
        assert found.is_known
        assert len(found) == 0

    def test_a_list_holds_everybody(self) -> None:
        """Whoever isn't on a new list has gone."""
        found = roster(ALICE, Person("bob"))
        found.replace([Person("carol")])
        assert [person.name for person in found] == ["carol"]

    @pytest.mark.parametrize("name", ["Alice", "alice", "ALICE"])
    def test_any_case(self, name: str) -> None:
        """A name is found, replaced and removed in any case."""
        found = roster(ALICE)
        assert found.get(name) == ALICE
        assert found.is_muted(name)
        found.join(Person(name))
        assert list(found) == [Person(name)]
        assert not found.is_muted(name)
        found.leave(name)
        assert list(found) == []

    def test_strangers(self) -> None:
        """Of somebody who isn't here nothing is known, and nothing is held against him."""
        found = roster(ALICE)
        assert found.get("bob") is None
        assert not found.is_muted("bob")
        found.leave("bob")
        assert list(found) == [ALICE]


class TestChange:
    """A change takes what the event says and keeps what it doesn't."""

    @pytest.mark.parametrize(
        ("change", "after"),
        [
            pytest.param(
                PersonChanged("alice"), Person("Alice", 2.0, is_afk=True, is_muted=True), id="none"
            ),
            pytest.param(
                PersonChanged("alice", rank=1.5),
                Person("Alice", 1.5, is_afk=True, is_muted=True),
                id="rank",
            ),
            pytest.param(
                PersonChanged("alice", rank=0.0),
                Person("Alice", 0.0, is_afk=True, is_muted=True),
                id="rank-zero",
            ),
            pytest.param(
                PersonChanged("alice", is_afk=False),
                Person("Alice", 2.0, is_afk=False, is_muted=True),
                id="back",
            ),
            pytest.param(
                PersonChanged("ALICE", is_muted=False),
                Person("Alice", 2.0, is_afk=True, is_muted=False),
                id="unmuted",
            ),
        ],
    )
    def test_one_person(self, change: PersonChanged, after: Person) -> None:
        """Only what is said changes, and nobody else does."""
        found = roster(ALICE, Person("bob"))
        found.change(change)
        assert list(found) == [after, Person("bob")]

    def test_strangers_are_not_added(self) -> None:
        """A change of somebody who isn't here makes nobody appear."""
        found = roster(ALICE)
        found.change(PersonChanged("bob", rank=3.0))
        assert list(found) == [ALICE]


class TestBound:
    """A connector that never says who left must not fill the memory (REQ-7)."""

    def test_a_list_of_many(self) -> None:
        """A list longer than any room's is cut."""
        found = roster(*(Person(f"user{number}") for number in range(MAX_PEOPLE + 1000)))
        assert len(found) == MAX_PEOPLE

    def test_arrivals_without_end(self) -> None:
        """Into a full roster nobody new comes; those who are in it still change."""
        found = roster(*(Person(f"user{number}") for number in range(MAX_PEOPLE)))
        found.join(Person("one more"))
        assert found.get("one more") is None
        found.join(Person("user1", 3.0))
        assert found.get("user1") == Person("user1", 3.0)
        found.leave("user1")
        found.join(Person("one more"))
        assert found.get("one more") is not None
        assert len(found) == MAX_PEOPLE

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["join", "leave", "change", "replace"]), st.sampled_from("aAbBcCdD")
            )
        )
    )
    def test_any_mix(self, steps: list[tuple[str, str]]) -> None:
        """After any mix of events there are at most so many, each once, under his own name."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(roster_module, "MAX_PEOPLE", 3)
            found = Roster()
            for step, name in steps:
                if step == "join":
                    found.join(Person(name))
                elif step == "leave":
                    found.leave(name)
                    assert found.get(name) is None
                elif step == "change":
                    found.change(PersonChanged(name, rank=1.0))
                else:
                    found.replace([Person(name), Person(name.lower())])
                assert len(found) <= 3
                assert len({person.name.lower() for person in found}) == len(found)
                assert all(found.get(person.name) is person for person in found)
