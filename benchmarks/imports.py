"""A process that imports what the daemon's libraries are, and does nothing: the yardstick.

python -m benchmarks.imports
"""

from __future__ import annotations

import importlib
import json
import sys

# The runtime dependencies of pyproject.toml, and what of them is imported apart: aiohttp's server,
# and pydantic's models, which it loads only when somebody asks for them.
LIBRARIES = (
    "nats",
    "httpx",
    "aiohttp",
    "aiohttp.web",
    "httpx_aiohttp",
    "markdown_it",
    "pythonjsonlogger",
    "pydantic",
    "pydantic.main",
    "yaml",
    "prometheus_client",
    "msgspec",
    "regex",
)

if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.read()
