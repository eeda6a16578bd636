"""Rules for what is answer and what was thought aloud."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.llm_client.reasoning import split_reasoning
from tests.timing import is_linear


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("Hello", "Hello", None),
        ("<think>hm</think>Hello", "Hello", "hm"),
        ("<think>\nhm\n</think>\n\nHello\n", "Hello", "hm"),
        ("<thinking>hm</thinking> Hello", "Hello", "hm"),
        ("<reasoning>hm</reasoning> Hello", "Hello", "hm"),
        ("<THINK>hm</Think>Hello", "Hello", "hm"),
        ("< think >hm</ think >Hello", "Hello", "hm"),
        ('<think effort="high">hm</think>Hello', "Hello", "hm"),
        ("<seed:think>hm</seed:think>Hello", "Hello", "hm"),
        ("[THINK]hm[/THINK]Hello", "Hello", "hm"),
        ("◁think▷hm◁/think▷Hello", "Hello", "hm"),
        ("hm</think>Hello", "Hello", "hm"),
        ("<think>hm", "", "hm"),
        ("Hello <think>hm", "Hello", "hm"),
        ("<think></think>Hello", "Hello", None),
        ("<think/>Hello", "Hello", None),
        ("<think>a</think>Hel<think>b</think>lo", "Hello", "a\nb"),
        ("<think>a<think>b</think>c</think>Hello", "Hello", "a\nb\nc"),
        ("<think>a<reasoning>b</reasoning>c</think>Hello", "Hello", "a\nb\nc"),
        ("a</think>b</think>Hello", "Hello", "a\nb"),
        ("<Thought foo='1'>hm</ THOUGHT >Hello", "Hello", "hm"),
        ("<reasoning>hm</think>Hello", "Hello", "hm"),
        ("◁reasoning▷hm◁/reasoning▷Hello", "Hello", "hm"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary"
            " to=x<|message|>b<|end|><|start|>assistant<|channel|>final<|message|>Hello",
            "Hello",
            "a<|end|><|start|>assistant\nb",
        ),
        ("<|channel|>final<|message|>Hello", "Hello", None),
        ("<|channel|> analysis hm", "", "hm"),
        ("I think <3 <thinker>", "I think <3 <thinker>", None),
        ("[thinking] Hello", "[thinking] Hello", None),
        ("<think-tank> Hello", "<think-tank> Hello", None),
        ("I think > you", "I think > you", None),
        ("", "", None),
    ],
)
def test_reasoning_is_taken_out(text, answer, reasoning):
    """Blocks go, closed or not; a closing tag without an opening one ends what began the text."""
    # ASK-7
    assert split_reasoning(text) == (answer, reasoning)


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "<", ">", "</reasoning>"])))
def test_no_tag_is_left(pieces):
    """What is left never holds a whole tag that the text had."""
    answer, _ = split_reasoning("".join(pieces))
    assert "<think>" not in answer
    assert "</think>" not in answer


ALMOST_MARKS = (
    *("<", "< ", "<think ", "<a:", "<think", "</", "<think>"),
    *("[THINK", "<|channel|>analysis", "<|end|>"),
)


@pytest.mark.parametrize("piece", ALMOST_MARKS)
def test_time_is_linear(piece):
    """Almost-marks without end take no time to speak of."""
    assert is_linear(split_reasoning, piece, 50_000)
