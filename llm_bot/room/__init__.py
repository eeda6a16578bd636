"""All state of one room. No I/O."""

from llm_bot.room.observer import RoomObserver
from llm_bot.room.room import REPEATED_MEDIA_SECONDS, SERVER_NAME, Room, configure_triggers

__all__ = [
    "REPEATED_MEDIA_SECONDS",
    "SERVER_NAME",
    "Room",
    "RoomObserver",
    "configure_triggers",
]
