"""The event bus on NATS."""

from llm_bot.nats_client.client import NatsBus

__all__ = [
    "NatsBus",
]
