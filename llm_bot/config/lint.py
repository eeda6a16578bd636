"""What is allowed in a configuration file but hardly meant."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import SecretStr

from llm_bot.config.fields import MIN_SECRET_CHARACTERS, leaves
from llm_bot.config.model import Config
from llm_bot.config.yaml_source import Fault


def doubtful_settings(config: Config) -> Iterator[Fault]:
    """Settings that fit each for itself, but hardly what was meant."""
    if not any(channel.enabled for channel in config.channels):
        yield Fault(("channels",), "no channel is enabled")
    processing = config.response_processing
    if processing.fallback_responses_enabled and not processing.fallback_responses:
        lines = ("response_processing", "fallback_responses")
        yield Fault(lines, "no lines, though fallback_responses_enabled is true")
    template = ("llm_api", "user_prompt_template")
    if "{trigger_message}" not in config.llm_api.user_prompt_template:
        yield Fault(template, "no {trigger_message}, so the model doesn't see the line to answer")
    if (
        config.llm_api.include_context_in_prompt
        and "{context_window}" not in config.llm_api.user_prompt_template
    ):
        yield Fault(template, "no {context_window}, so the model doesn't see the conversation")
    for path, value in leaves(config):
        if path[-1] == "base_url" and urlsplit(str(value)).path.endswith("/chat/completions"):
            message = "ends in /chat/completions, which is left out"
            yield Fault(path, message, "write the address up to the version, such as /v1")
        if isinstance(value, SecretStr) and len(value) < MIN_SECRET_CHARACTERS:
            message = f"secret of fewer than {MIN_SECRET_CHARACTERS} characters"
            yield Fault(path, message, "one so short can't be kept out of logs and replies")
