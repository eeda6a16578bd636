"""Implementations of the `EventBus` port other than NATS."""
