"""Who is here. Pure; addresses and aliases never come this far (`llm_bot.wire`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from llm_bot.models import Person, PersonChanged

MAX_PEOPLE = 10_000
"""More than any room holds: a connector that never says who left must not fill the memory."""


class Roster:
    """The people of one room by name, case aside. `is_known` is false until a list was heard."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}
        self.is_known = False

    def __len__(self) -> int:
        return len(self._people)

    def __iter__(self) -> Iterator[Person]:
        return iter(self._people.values())

    def get(self, name: str) -> Person | None:
        return self._people.get(name.lower())

    def is_muted(self, name: str) -> bool:
        """Whether the chat server lets nobody else see what `name` says."""
        person = self.get(name)
        return person is not None and person.is_muted

    def replace(self, people: Iterable[Person]) -> None:
        """A whole list: it holds everybody, so whoever isn't on it has gone."""
        self._people = {}
        for person in people:
            self.join(person)
        self.is_known = True

    def assume(self, people: Iterable[Person]) -> None:
        """A stored list, which may be older than what was heard: that stays as it is."""
        if not self.is_known:
            heard = tuple(self._people.values())
            self.replace((*people, *heard))

    def join(self, person: Person) -> None:
        key = person.name.lower()
        if len(self._people) < MAX_PEOPLE or key in self._people:
            self._people[key] = person

    def leave(self, name: str) -> None:
        self._people.pop(name.lower(), None)

    def change(self, change: PersonChanged) -> None:
        """Take what the event says and keep what it doesn't; unknown names aren't added."""
        person = self.get(change.name)
        if person is not None:
            told = {
                name: value
                for name in ("rank", "is_afk", "is_muted")
                if (value := getattr(change, name)) is not None
            }
            self._people[change.name.lower()] = msgspec.structs.replace(person, **told)
