"""`llm-bot models`: what do the providers have, and is what is configured among it?"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llm_bot.config import Config
from llm_bot.config.loader import ConfigFileError, load_config
from llm_bot.llm_client import LLMClient, LLMConfig, LLMError
from llm_bot.runtime.model import client_config

SHOWN_MODELS = 200
"""More than that of one provider are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One provider: the models that are asked of it, and those that it has, or why not."""

    name: str
    config: LLMConfig
    wanted: tuple[str, ...]
    models: tuple[str, ...] = ()
    error: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """Models that are asked for and not listed. A server that lists none may have any."""
        if not self.models:
            return ()
        return tuple(name for name in self.wanted if not _lists(self.models, name))

    @property
    def is_well(self) -> bool:
        return not self.error and not self.missing


def run(config_path: Path) -> int:
    """Print each provider's models. 0 if each answers and has what is asked of it, else 1."""
    try:
        config = load_config(config_path, os.environ).config
    except ConfigFileError as exc:
        line = f"{exc.source}: not usable, see llm-bot check --config {exc.source}"
        print(line, file=sys.stderr)
        return 1
    try:
        listings = asyncio.run(_listings(config))
    except LLMError as exc:
        print(f"{config_path}: {exc}", file=sys.stderr)
        return 1
    print("\n\n".join("\n".join(_lines(listing)) for listing in listings))
    return 0 if all(listing.is_well for listing in listings) else 1


async def _listings(config: Config) -> list[Listing]:
    first = client_config(config.llm_api)
    providers = (first, *first.fallbacks)
    # A room may name a model of its own, which is the first provider's.
    own = {channel.llm_model for channel in config.channels if channel.llm_model}
    wanted = [{first.model, *own}, *({each.model} for each in first.fallbacks)]
    names = LLMClient(first).states  # as metrics and /health call them
    return await asyncio.gather(
        *(
            _listing(name, one, tuple(sorted(models)))
            for name, one, models in zip(names, providers, wanted, strict=True)
        )
    )


async def _listing(name: str, config: LLMConfig, wanted: tuple[str, ...]) -> Listing:
    try:
        async with LLMClient(replace(config, fallbacks=())) as client:
            models = await client.list_models()
    except LLMError as exc:
        # Each is asked alone, under a name that isn't the one it has here.
        return Listing(name, config, wanted, error=str(exc).removeprefix(f"{exc.provider}: "))
    return Listing(name, config, wanted, tuple(sorted({model.id for model in models})))


def _lines(listing: Listing) -> Iterator[str]:
    yield f"{listing.name}  {listing.config.address}"
    if listing.error:
        yield f"  no list: {_printable(listing.error)}"
        return
    if not listing.models:
        yield "  lists no models, which needn't mean that it has none"
    for name in listing.missing:
        yield f"  ! {name}  is asked for, and isn't listed"
    shown = listing.models[:SHOWN_MODELS]
    for name in shown:
        mark = "*" if any(_lists((name,), wanted) for wanted in listing.wanted) else " "
        yield f"  {mark} {_printable(name)}"
    if any(_lists(shown, name) for name in listing.wanted):
        yield "  (* is asked for)"
    if len(listing.models) > len(shown):
        yield f"  and {len(listing.models) - len(shown)} more"


def _lists(models: Iterable[str], name: str) -> bool:
    """Whether `name` is there; Ollama lists as `name:latest` what is asked for as `name`."""
    return any(model in (name, f"{name}:latest") for model in models)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
