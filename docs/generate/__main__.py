"""`python -m docs.generate`: write the generated pages."""

from __future__ import annotations

import sys

from docs.generate.pages import PAGES


def main() -> None:
    for path, make in PAGES.items():
        text = make()
        is_stale = not path.is_file() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.name}: {'written' if is_stale else 'as it was'}\n")


if __name__ == "__main__":
    main()
