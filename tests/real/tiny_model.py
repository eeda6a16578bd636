"""A language model of half a megabyte that says noise, in the formats of mlx-lm and llama.cpp.

Written with nothing but the standard library, so that no server's environment is needed for it.
The vocabulary is the 256 bytes and three control tokens; the weights are random, apart from one
direction that keeps every answer printable and endless.
"""

from __future__ import annotations

import json
import math
import random
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

WIDTH = 64
LAYERS = 2
HEADS = 4
INNER = 128
CONTEXT_TOKENS = 512
NORM_EPSILON = 1e-5

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant: "
)
# What Gemma's template refuses, in its words.
STRICT_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
    "{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant: "
)

_CONTROL = ("<unk>", "<s>", "</s>")
_UNKNOWN, _BEGIN, _END = range(3)
_MERGED = "th"  # tokenizers of this kind want at least one merge


class Tensor(NamedTuple):
    """Weights in rows; `columns` is 0 for a vector."""

    rows: int
    columns: int
    values: array[float]

    @property
    def shape(self) -> list[int]:
        return [self.rows, self.columns] if self.columns else [self.rows]


def write_mlx(folder: Path, template: str = PLAIN_TEMPLATE) -> None:
    """Write the model into `folder`, as mlx-lm and transformers read it."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": NORM_EPSILON,
        "vocab_size": len(vocabulary),
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": False,
        "bos_token_id": _BEGIN,
        "eos_token_id": _END,
    }
    control = [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, text in enumerate(_CONTROL)
    ]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": control,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(vocabulary)},
            "merges": [list(_MERGED)],
        },
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _CONTROL[_BEGIN],
        "eos_token": _CONTROL[_END],
        "unk_token": _CONTROL[_UNKNOWN],
        "model_max_length": CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
    }
    for name, tree in (
        ("config", config),
        ("tokenizer", tokenizer),
        ("tokenizer_config", tokenizer_config),
    ):
        (folder / f"{name}.json").write_text(json.dumps(tree))
    names = _mlx_names()
    _write_safetensors(
        folder / "model.safetensors", ((names[name], each) for name, each in _weights())
    )


def _write_safetensors(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "mlx"}}
    body = bytearray()
    for name, tensor in tensors:
        raw = tensor.values.tobytes()
        offsets = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": offsets}
        body += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)


def write_gguf(path: Path, template: str = PLAIN_TEMPLATE) -> None:
    """Write the model to `path`, as llama.cpp reads it."""
    vocabulary = _vocabulary()
    kinds = [2 if number == _UNKNOWN else 3 if number < 3 else 1 for number in range(3)]
    kinds += [1] * (len(vocabulary) - 3)
    fields = [
        ("general.architecture", _text("llama")),
        ("general.name", _text("tiny")),
        ("llama.vocab_size", _number(len(vocabulary))),
        ("llama.context_length", _number(CONTEXT_TOKENS)),
        ("llama.embedding_length", _number(WIDTH)),
        ("llama.block_count", _number(LAYERS)),
        ("llama.feed_forward_length", _number(INNER)),
        ("llama.attention.head_count", _number(HEADS)),
        ("llama.attention.head_count_kv", _number(HEADS)),
        ("llama.rope.dimension_count", _number(WIDTH // HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", struct.pack("<If", 6, NORM_EPSILON)),
        ("tokenizer.ggml.model", _text("gpt2")),
        ("tokenizer.ggml.pre", _text("gpt-2")),
        ("tokenizer.ggml.tokens", _list(8, [_string(token) for token in vocabulary])),
        ("tokenizer.ggml.token_type", _list(5, [struct.pack("<i", kind) for kind in kinds])),
        ("tokenizer.ggml.merges", _list(8, [_string(" ".join(_MERGED))])),
        ("tokenizer.ggml.bos_token_id", _number(_BEGIN)),
        ("tokenizer.ggml.eos_token_id", _number(_END)),
        ("tokenizer.chat_template", _text(template)),
    ]
    tensors = list(_weights())
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(fields))
    head += b"".join(_string(name) + value for name, value in fields)
    body = b""
    for name, tensor in tensors:
        shape = tensor.shape[::-1]  # innermost first
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body))
        body += _aligned(tensor.values.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_aligned(head) + body)


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _text(text: str) -> bytes:
    return struct.pack("<I", 8) + _string(text)


def _number(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    return struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items)


def _aligned(raw: bytes) -> bytes:
    return raw + b"\0" * (-len(raw) % 32)


def _vocabulary() -> list[str]:
    return [*_CONTROL, *(_as_character(byte) for byte in range(256)), _MERGED]


def _as_character(byte: int) -> str:
    """`byte` in the alphabet of byte-level tokenizers, in which every byte can be seen."""
    return chr(byte) if _is_seen(byte) else chr(256 + sum(not _is_seen(b) for b in range(byte)))


def _is_seen(byte: int) -> bool:
    return 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255


def _weights() -> Iterator[tuple[str, Tensor]]:
    """All weights under llama.cpp's names, the same with every call.

    The first number of each position is the same for every token and no layer changes it; the
    output turns it into a bonus for printable ASCII.
    """
    rng = random.Random(7)

    def matrix(
        rows: int, columns: int, first: Sequence[float] | None = None, scale: float = 1.0
    ) -> Tensor:
        spread = scale / math.sqrt(columns)
        values = array("f", (rng.gauss(0, spread) for _ in range(rows * columns)))
        if first is not None:
            for row, value in enumerate(first):
                values[row * columns] = value
        return Tensor(rows, columns, values)

    def without_first_row(tensor: Tensor) -> Tensor:
        tensor.values[: tensor.columns] = array("f", [0.0] * tensor.columns)
        return tensor

    ones = Tensor(WIDTH, 0, array("f", [1.0] * WIDTH))
    tokens = _vocabulary()
    yield "token_embd.weight", matrix(len(tokens), WIDTH, [8.0] * len(tokens), scale=12)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        yield prefix + "attn_norm.weight", ones
        for name in ("attn_q", "attn_k", "attn_v"):
            yield f"{prefix}{name}.weight", matrix(WIDTH, WIDTH)
        yield prefix + "attn_output.weight", without_first_row(matrix(WIDTH, WIDTH))
        yield prefix + "ffn_norm.weight", ones
        for name in ("ffn_gate", "ffn_up"):
            yield f"{prefix}{name}.weight", matrix(INNER, WIDTH)
        yield prefix + "ffn_down.weight", without_first_row(matrix(WIDTH, INNER))
    yield "output_norm.weight", ones
    printable = [len(token) == 1 and 33 <= ord(token) <= 126 for token in tokens]
    yield "output.weight", matrix(len(tokens), WIDTH, [4.0 if yes else -4.0 for yes in printable])


def _mlx_names() -> dict[str, str]:
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    for layer in range(LAYERS):
        for ours, theirs in parts.items():
            names[f"blk.{layer}.{ours}.weight"] = f"model.layers.{layer}.{theirs}.weight"
    return names
