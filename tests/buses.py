"""What the tests of buses share."""

from __future__ import annotations

from llm_bot.ports import Bus, Event
from tests.servers import eventually


async def listen(bus: Bus, subject: str) -> list[Event]:
    """What is heard on `subject` from now on."""
    heard: list[Event] = []
    await bus.subscribe(subject, heard.append)
    return heard


def bodies(heard: list[Event]) -> list[bytes]:
    return [event.data for event in heard]


async def settled(bus: Bus) -> None:
    """Return when what was published before has reached its subscriptions."""
    marks: list[Event] = []
    mark = await bus.subscribe("mark", marks.append)
    await bus.publish("mark", b"")
    await eventually(lambda: marks)
    await mark.unsubscribe()
