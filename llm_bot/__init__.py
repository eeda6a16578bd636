"""A daemon that takes part in the chat of CyTube rooms with a large language model, over NATS."""

__version__ = "0.1.0"
__author__ = "The llm_bot authors"
