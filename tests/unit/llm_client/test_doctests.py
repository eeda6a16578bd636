"""Rule: the examples in the package's docstrings are true, and nothing public is without one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import pkgutil
import re

import httpx
import pytest

import llm_bot.llm_client
from llm_bot.llm_client import LLMClient, LLMConfig, LLMError, exceptions

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(llm_bot.llm_client.__path__, "llm_bot.llm_client.")
)
FACE = llm_bot.llm_client.__all__
METHODS = [
    name
    for name, member in inspect.getmembers(LLMClient)
    if not name.startswith("_") and (callable(member) or isinstance(member, property))
]


def pretended(received: httpx.Request) -> httpx.Response:
    """The server that the examples of the client's methods ask."""
    if received.url.path.endswith("/embeddings"):
        texts = json.loads(received.content)["input"]
        return httpx.Response(200, json={"data": [{"embedding": [0.5, 1]}] * len(texts)})
    if received.method == "GET":
        return httpx.Response(200, json={"data": [{"id": "m"}, {"id": "e"}]})
    return httpx.Response(200, json={"choices": [{"message": {"content": "Hi!"}}]})


def names_of_examples() -> dict[str, object]:
    public = {name: getattr(llm_bot.llm_client, name) for name in FACE}
    config = LLMConfig(provider="ollama", base_url="http://127.0.0.1:11434", model="m")
    return {**public, "pretended": httpx.MockTransport(pretended), "config": config}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Each example gives what it says."""
    module = importlib.import_module(name)
    names = names_of_examples() if module.__name__.endswith(".client") else {}
    failed, _ = doctest.testmod(module, extraglobs=names)
    assert failed == 0


def test_the_face():
    """What the package promises can be imported from it."""
    for name in FACE:
        assert getattr(llm_bot.llm_client, name)


@pytest.mark.parametrize("name", FACE)
def test_everything_exported_has_an_example(name):
    """Each exported class has a docstring of its own, with an example."""
    assert ">>> " in (vars(getattr(llm_bot.llm_client, name)).get("__doc__") or "")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_client_has_an_example(name):
    """Each public method of the client, too."""
    assert ">>> " in (inspect.getdoc(getattr(LLMClient, name)) or "")


def test_the_tree_is_the_one_drawn():
    """The tree at the top of the exceptions is that of the classes."""
    drawing = re.findall(r"^( {4,})([A-Z]\w+)(?:  |$)", exceptions.__doc__ or "", re.MULTILINE)
    drawn, path = {}, {}
    for indent, name in drawing:
        depth = len(indent)
        path[depth] = name
        drawn[name] = path.get(depth - 2)
    kinds = [
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, LLMError)
    ]
    real = {kind.__name__: kind.__mro__[1].__name__ for kind in kinds}
    assert drawn == {**real, "LLMError": None}
    assert set(real) <= set(FACE)
