"""Takes out of a text what CommonMark reads as markup, and nothing else.

`snake_case`, `3 * 4` and `<3` are no markup and stay; `*this*` is, even inside a word. The one
extension is strikethrough (`~~gone~~`), which CyTube knows too. What a reader would see stays: the
text of links (and, on request, their addresses), descriptions of images, code as it was written,
the numbers of lists. Raw HTML, entities and tables stay as they are: CyTube shows them as text.
"""

from __future__ import annotations

from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_SHRUG = r"\_(ツ)_/¯"  # people write it without the two more backslashes that CommonMark wants


class _Parser(MarkdownIt):
    """CommonMark without what chat isn't: indented code, reference definitions, HTML.

    Addresses are only read or shown, never followed: any will do, as it was written.
    """

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False})
        self.enable("strikethrough").disable(["code", "entity", "reference"])
        self.inline.ruler.before("escape", "shrug", _keep_shrug)

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        del url
        return True

    def normalizeLink(self, url: str) -> str:  # noqa: N802 - the library's name
        return url

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802 - the library's name
        return link


def _keep_shrug(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith(_SHRUG, state.pos):
        return False
    if not silent:
        state.append_pending(_SHRUG)
    state.pos += len(_SHRUG)
    return True


_PARSER = _Parser()


def strip_markdown(text: str, *, keep_addresses: bool = False) -> str:
    """`text` without markup; lines stay lines. `keep_addresses`: links as `text (address)`."""
    lines: list[str] = []
    numbers = ""  # of list items whose text is still to come
    for token in _PARSER.parse(text):
        if token.type == "list_item_open" and token.info:
            numbers += f"{token.info}{token.markup} "
        elif token.type == "inline":
            lines.append(numbers + _inline_text(token.children or (), keep_addresses))
            numbers = ""
        elif token.type == "fence":
            lines.append(numbers + token.content.removesuffix("\n"))
            numbers = ""
        elif token.type == "list_item_close" and numbers:
            lines.append(numbers.rstrip())
            numbers = ""
    return "\n".join(lines)


def _inline_text(tokens: Iterable[Token], keep_addresses: bool) -> str:
    pieces: list[str] = []
    address, link_start = "", 0
    for token in tokens:
        if token.type in {"softbreak", "hardbreak"}:
            pieces.append("\n")
        elif token.type == "image":
            pieces.append(_inline_text(token.children or (), keep_addresses))
        elif token.type == "link_open" and token.markup != "autolink":
            address, link_start = str(token.attrs["href"]), len(pieces)
        elif token.type == "link_close":
            if keep_addresses and address not in ("", "".join(pieces[link_start:])):
                pieces.append(f" ({address})")
            address = ""
        else:
            pieces.append(token.content)
    return "".join(pieces)
