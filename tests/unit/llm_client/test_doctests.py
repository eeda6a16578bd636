"""Rule: the examples in the package's docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import llm_bot.llm_client

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(llm_bot.llm_client.__path__, "llm_bot.llm_client.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Each example gives what it says."""
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_face():
    """What the package promises can be imported from it."""
    for name in llm_bot.llm_client.__all__:
        assert getattr(llm_bot.llm_client, name)
