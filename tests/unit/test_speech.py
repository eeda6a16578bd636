"""What is no speech in an answer, and how it is kept from being said (ASK-10 to ASK-13)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bot.config import ResponseProcessingConfig
from llm_bot.llm_client.reasoning import split_reasoning
from llm_bot.response_processor import ResponseProcessor
from llm_bot.response_processor.processor import FilterReason
from llm_bot.response_processor.speech import without_other_turns, without_repetition
from llm_bot.text.template_tokens import break_tokens, cut_at_token

PROCESSOR = ResponseProcessor(ResponseProcessingConfig())


def processed(answer: str) -> str | FilterReason:
    """What is said of an answer to alice in a room with carol and bob_2."""
    found = PROCESSOR.process(
        answer,
        line="MyBot: hi?",
        own_names=("MyBot",),
        asker="alice",
        others={"carol", "bob_2", "mybot", "alice"},
    )
    return found.refusal or found.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            "<|channel>thought\nThey greet.\n<channel|>Hello alice!", "Hello alice!", id="B02"
        ),
        pytest.param("<|channel>thought<channel|>Hello!", "Hello!", id="B02-empty"),
        pytest.param("They greet.<channel|>Hello!", "Hello!", id="B02-closed-alone"),
        pytest.param(
            "<think>hm</think>\n<answer>It is a classic.</answer>", "It is a classic.", id="B09"
        ),
        pytest.param(
            '<details type="reasoning" done="true">\n> They ask\n</details>\nI enjoy it.',
            "I enjoy it.",
            id="B09-details",
        ),
        pytest.param("<final>Fine by me.", "Fine by me.", id="wrapper-unclosed"),
        pytest.param("analysisThey greet.assistantfinalHello!", "Hello!", id="harmony-bare"),
        pytest.param(
            "analysis of that film would take hours",
            "analysis of that film would take hours",
            id="word",
        ),
        pytest.param(
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
            "Yes.",
            id="harmony",
        ),
    ],
)
def test_reasoning_and_wrappers(answer, said):
    """Every family's own marks, closed, unclosed, or the closing mark alone."""
    assert processed(answer) == said


@pytest.mark.parametrize(
    "token",
    [
        "</s>",
        "<end_of_turn>",
        "<｜end▁of▁sentence｜>",
        "<|end▁of▁sentence|>",
        "[/INST]",
        "<s>",
        "[|endofturn|]",
        "<|im_end|>",
        "<|eot_id|>",
        "<eos>",
        "<<SYS>>",
    ],
)
def test_template_tokens(token):
    """They end the answer: an invented turn follows. At the start they only go (B05)."""
    assert processed(f"Great film so far!{token}") == "Great film so far!"
    assert processed(f"Great film so far!{token}\nuser: and the next?") == "Great film so far!"
    assert processed(f"{token} Great film so far!") == "Great film so far!"
    assert token not in break_tokens(f"x {token} y")
    assert break_tokens(f"x {token} y").replace(" ", "") == f"x{token}y".replace(" ", "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("I love it so much \ufffd", "I love it so much"),
        ("so \ufffd\ufffd much", "so  much"),
        ("<unk>Hello<unk> there", "Hello there"),
    ],
)
def test_halves_and_unknowns(answer, said):
    """What a cut answer ends with goes (B56)."""
    assert cut_at_token(answer) == said


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "search", "arguments": {"q": "film"}}',
        '```json\n{"answer": "yes"}\n```',
        '<tool_call>{"name": "x"}</tool_call>',
        "[TOOL_CALLS] search",
        "<function=search>film</function>",
        "So <<<0123456789ab alice: hi",
        "I see (nothing yet) here",
    ],
)
def test_machine_output_refuses(answer):
    """Calls of tools, JSON alone, and our own prompt within an answer are never said (ASK-11)."""
    assert processed(answer) is FilterReason.NOT_SPEECH


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("0123456789ab>>>\nNice car!", "Nice car!"),
        ("[12:03:11] Nice car!", "Nice car!"),
        ("(nothing yet) Nice car!", "Nice car!"),
        ("Nice car! <<<0123456789ab", "Nice car!"),
        ("[sic] is what they say", "[sic] is what they say"),
    ],
)
def test_scaffolding_at_the_ends_goes(answer, said):
    """The fence, its words and our form of a time around an answer."""
    assert processed(answer) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param("Nice car!\ncarol: and the dog?\nMyBot: fine!", "Nice car!", id="B07"),
        pytest.param("Nice car! carol: and the dog?", "Nice car!", id="after-a-sentence"),
        pytest.param("Nice car!\n[12:03:11] bob_2 : what?", "Nice car!", id="timed"),
        pytest.param("Nice car!\n**Carol**: what?", "Nice car!", id="bold"),
        pytest.param("Nice car!\nMyBot (you): more", "Nice car!", id="own"),
        pytest.param("carol: and the dog?", FilterReason.OTHER_SPEAKER, id="start"),
        pytest.param("alice: yes, it is", "alice: yes, it is", id="address"),
        pytest.param("Note: it is long", "Note: it is long", id="word"),
        pytest.param("Two things. First: the car.", "Two things. First: the car.", id="later-word"),
        pytest.param("I told carol: no", "I told carol: no", id="in-a-sentence"),
    ],
)
def test_nobody_else_is_spoken_for(answer, said):
    """A turn of somebody here ends the answer, or refuses it; other names are speech (ASK-12)."""
    assert processed(answer) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param("I love this movie. " * 20, "I love this movie.", id="B53"),
        pytest.param("I love this movie. " * 20 + "I love th", "I love this movie.", id="cut"),
        pytest.param("haha " * 80, FilterReason.REPETITION, id="laughter"),
        pytest.param("a" * 500, FilterReason.REPETITION, id="letters"),
        pytest.param("Run! Run! Run!", "Run! Run! Run!", id="short"),
        pytest.param("I love it. I love it.", "I love it. I love it.", id="twice"),
        pytest.param("no no no no, hahahaha", "no no no no, hahahaha", id="people-do"),
    ],
)
def test_repetition(answer, said):
    """The same sentence over and over is said once; a mere loop isn't said (B53)."""
    assert processed(answer) == said


@given(st.text(max_size=300))
def test_whatever_was_written(text):
    """Each step ends, keeps a beginning or refuses, and does nothing more the second time."""
    for step in (
        lambda t: without_other_turns(t, asker="alice", others={"bob"}, own_names=("MyBot",)),
        cut_at_token,
        without_repetition,
    ):
        once = step(text)
        assert once is None or step(once) in (once, None)
    assert split_reasoning(text)[0] in text or text
