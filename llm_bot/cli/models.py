"""`llm-bot models`: what do the providers have, and is what is configured among it?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llm_bot.cli.arguments import DEFAULT_CONFIG
from llm_bot.cli.output import ExitCode, fail, printable
from llm_bot.config import Config, ConfigFileError, load_config
from llm_bot.llm_client import LLMClient, LLMConfig, LLMError
from llm_bot.runtime.model import client_config

SHOWN_MODELS = 200
"""More than that of one provider are counted, not listed."""


@dataclass(frozen=True)
class Listing:
    """One provider: the models that are asked of it, and those that it has, or why not."""

    name: str
    config: LLMConfig
    wanted: tuple[str, ...]
    models: tuple[str, ...] = ()
    error: str = ""

    @property
    def listed(self) -> frozenset[str]:
        """The wanted models that are there; Ollama lists `name` as `name:latest`."""
        return frozenset(
            name for name in self.wanted if not {name, f"{name}:latest"}.isdisjoint(self.models)
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """Models that are asked for and not listed. A server that lists none may have any."""
        return tuple(name for name in self.wanted if self.models and name not in self.listed)

    def lines(self) -> Iterator[str]:
        """What is printed of it."""
        yield f"{self.name}  {self.config.address}"
        if self.error:
            yield f"  no list: {printable(self.error)}"
        elif not self.models:
            yield "  lists no models, which needn't mean that it has none"
        for name in self.missing:
            yield f"  ! {name}  is asked for, and isn't listed"
        for name in self.models[:SHOWN_MODELS]:
            mark = "*" if self.listed & {name, name.removesuffix(":latest")} else " "
            yield f"  {mark} {printable(name)}"
        if self.listed:
            yield "  (* is asked for)"
        if len(self.models) > SHOWN_MODELS:
            yield f"  and {len(self.models) - SHOWN_MODELS} more"


def run(config_path: Path = DEFAULT_CONFIG) -> int:
    """Print each provider's models. 0 if each answers and has what is asked of it, else 1."""
    try:
        config = load_config(config_path, os.environ).config
        listings = asyncio.run(_listings(config))
    except ConfigFileError as exc:
        return fail(exc)
    except LLMError as exc:
        return fail(f"{config_path}: {exc}")
    print("\n\n".join("\n".join(listing.lines()) for listing in listings))
    is_well = not any(listing.error or listing.missing for listing in listings)
    return ExitCode.OK if is_well else ExitCode.CONFIG


async def _listings(config: Config) -> list[Listing]:
    first = client_config(config.llm_api)
    # A room may name a model of its own, which is the first provider's.
    own = {channel.llm_model for channel in config.channels if channel.llm_model}
    wanted = [{first.model, *own}, *({each.model} for each in first.fallbacks)]
    names = LLMClient(first).states  # as metrics and /health call them
    providers = zip(names, (first, *first.fallbacks), wanted, strict=True)
    return await asyncio.gather(
        *(_listing(name, one, tuple(sorted(models))) for name, one, models in providers)
    )


async def _listing(name: str, config: LLMConfig, wanted: tuple[str, ...]) -> Listing:
    try:
        async with LLMClient(replace(config, fallbacks=())) as client:
            models = await client.list_models()
    except LLMError as exc:
        # Each is asked alone, under a name that isn't the one it has here.
        return Listing(name, config, wanted, error=str(exc).removeprefix(f"{exc.provider}: "))
    return Listing(name, config, wanted, tuple(sorted({model.id for model in models})))
