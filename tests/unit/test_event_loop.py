"""The loop that is taken, with the extra `speed` and without."""

from __future__ import annotations

import asyncio
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from llm_bot.cli.event_loop import loop_factory


def test_without_the_extra(monkeypatch):
    """asyncio's own; `None` in place of a module is how Python notes that there is none."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None


def test_with_the_extra(monkeypatch):
    """Its loop is made, and not before it is asked for."""
    module = ModuleType("uvloop")
    module.__spec__ = ModuleSpec("uvloop", None)
    module.new_event_loop = asyncio.new_event_loop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uvloop", module)
    assert loop_factory() is asyncio.new_event_loop
