"""A process that becomes the daemon step by step, and says what memory it has after each.

python -m benchmarks.footprint CONFIG
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from benchmarks.imports import LIBRARIES


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    libraries = resident_bytes()
    importlib.import_module("llm_bot.cli.run")
    modules = resident_bytes()
    importlib.import_module("llm_bot.config.loader").load_config(Path(sys.argv[1]), os.environ)
    found = {"libraries": libraries, "modules": modules, "configuration": resident_bytes()}
    print(json.dumps(found), flush=True)
