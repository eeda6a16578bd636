"""Takes out of a text what CommonMark reads as markup, and nothing else.

`snake_case`, `3 * 4` and `<3` are no markup and stay; `*this*` is, even inside a word. The one
extension is strikethrough (`~~gone~~`), which CyTube knows too. What a reader would see stays: the
text of links (and, on request, their addresses), descriptions of images, code as it was written,
the numbers of lists. Raw HTML and entities stay as they are, since CyTube shows them as text.

Everything is linear: containers have a depth limit, and a failed search is remembered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import msgspec

# Block structure. More containers inside one another than this are text.
_MAX_CONTAINERS = 8
_CONTAINER = re.compile(r"[ \t]*+(?:>[ \t]?|[-*+](?:[ \t]++|$))")
_FENCE = re.compile(r"[ \t]*+(`{3,}+(?!.*`)|~{3,}+)")
_FENCE_END = re.compile(r"[ \t>]*+(`{3,}+|~{3,}+)[ \t]*+$")
_THEMATIC_BREAK = re.compile(r"[ \t]*+([-*_])(?:[ \t]*+\1){2,}+[ \t]*+$")
_SETEXT_UNDERLINE = re.compile(r"[ \t]*+=++[ \t]*+$")
_HEADING = re.compile(r"[ \t]*+#{1,6}+(?:[ \t]++|$)")

# Inline structure.
_SHRUG = r"¯\\_\(ツ\)_/¯"  # people write it without the two more backslashes that Markdown wants
_INLINE = re.compile(
    rf"""
      (?P<shrug>{_SHRUG})
    | \\(?P<escaped>[!-/:-@\[-`{{-~\n])
    | (?P<code>`++)
    | <(?P<address>[a-z][a-z0-9+.\-]{{1,31}}:[^\s<>]*+|[\w.+\-]++@[\w.\-]++)>
    | (?P<run>\*++|_++|~++)
    | (?P<open>!?\[)
    | (?P<close>\])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DESTINATION = re.compile(
    r"""
    \(\s*+
      (?:<(?P<angled>[^<>\n]*+)>|(?P<bare>[^\s()<][^\s()]*+(?:\([^\s()]*+\)[^\s()]*+)*+)?)
      (?:\s++(?:"[^"]*+"|'[^']*+'|\([^()]*+\)))?+
    \s*+\)
    """,
    re.VERBOSE,
)


def strip_markdown(text: str, *, keep_addresses: bool = False) -> str:
    """`text` without markup; lines stay lines. `keep_addresses`: links as `text (address)`."""
    return "\n".join(
        block if literal else _strip_inline(block, keep_addresses)
        for literal, block in _blocks(text)
    )


def _blocks(text: str) -> Iterator[tuple[bool, str]]:
    """Paragraphs and the like without the markup of blocks; True marks code."""
    paragraph: list[str] = []
    fence = ""
    for line in text.splitlines():
        if fence:
            if _closes(fence, line):
                fence = ""
            else:
                yield True, line
            continue
        content, is_new_block = _without_containers(line)
        opening = _FENCE.match(content)
        is_heading = _HEADING.match(content) is not None
        if paragraph and (is_new_block or is_heading or opening or not content.strip()):
            yield False, "\n".join(paragraph)
            paragraph = []
        if opening:
            fence = opening[1]
        elif is_heading:
            yield False, _heading_text(content)
        elif not (paragraph and _SETEXT_UNDERLINE.match(content)) and content.strip():
            paragraph.append(content)
    if paragraph:
        yield False, "\n".join(paragraph)


def _closes(fence: str, line: str) -> bool:
    end = _FENCE_END.match(line)
    return end is not None and end[1].startswith(fence)


def _without_containers(line: str) -> tuple[str, bool]:
    """`line` without quote and bullet marks, blank if a rule; and whether it begins a block."""
    start, is_item = 0, False
    for _ in range(_MAX_CONTAINERS):
        if _THEMATIC_BREAK.match(line, start):
            return "", True
        mark = _CONTAINER.match(line, start)
        if not mark:
            break
        start = mark.end()
        is_item = is_item or ">" not in mark[0]
    return line[start:].strip(" \t"), is_item


def _heading_text(line: str) -> str:
    start = _HEADING.match(line)
    title = line[start.end() if start else 0 :].rstrip()
    bare = title.rstrip("#")
    return bare.rstrip() if not bare or bare[-1] in " \t" else title


class _Run(msgspec.Struct):
    """A run of `*`, `_` or `~` that may open or close emphasis; `left` of it is still text."""

    piece: int
    mark: str
    length: int
    left: int
    can_open: bool
    can_close: bool


class _Bracket(msgspec.Struct):
    """A `[` or `![` that may begin a link or image, and how many runs stood before it."""

    piece: int
    runs_before: int
    is_image: bool


class _Inline:
    """Reads one block from left to right; `pieces` joined are its text once all is read."""

    def __init__(self, text: str, keep_addresses: bool) -> None:
        self.text = text
        self.pieces: list[str] = []
        self._keep_addresses = keep_addresses
        self._runs: list[_Run] = []
        self._brackets: list[_Bracket] = []
        self._barred = 0  # brackets below this index can't begin a link: links hold no links
        self._code_runs: dict[int, list[int]] | None = None

    def read(self) -> str:
        position = 0
        while token := _INLINE.search(self.text, position):
            self.pieces.append(self.text[position : token.start()])
            position = self._take(token)
        self.pieces.append(self.text[position:])
        self._resolve(0)
        return "".join(self.pieces)

    def _take(self, token: re.Match[str]) -> int:
        """Deals with one token; returns where reading goes on."""
        kind = token.lastgroup
        if kind == "code":
            return self._take_code(token)
        if kind == "close":
            return self._take_close(token)
        if kind == "run":
            self._runs.append(_run(token, len(self.pieces)))
        elif kind == "open":
            self._brackets.append(
                _Bracket(len(self.pieces), len(self._runs), is_image=token[0] == "![")
            )
        self.pieces.append(token[kind] if kind in {"escaped", "address"} else token[0])
        return token.end()

    def _take_code(self, token: re.Match[str]) -> int:
        length = len(token[0])
        if self._code_runs is None:
            self._code_runs = _backtick_runs(self.text)
        ends = self._code_runs.get(length, [])
        while ends and ends[-1] < token.end():
            ends.pop()
        if not ends:
            self.pieces.append(token[0])
            return token.end()
        code = self.text[token.end() : ends[-1]].replace("\n", " ")
        if code.strip(" ") and code[0] == code[-1] == " ":
            code = code[1:-1]
        self.pieces.append(code)
        return ends[-1] + length

    def _take_close(self, token: re.Match[str]) -> int:
        bracket = self._brackets.pop() if self._brackets else None
        if bracket is not None and (bracket.is_image or len(self._brackets) >= self._barred):
            destination = _DESTINATION.match(self.text, token.end())
            if destination:
                self._make_link(bracket, destination["angled"] or destination["bare"] or "")
                return destination.end()
        self._barred = min(self._barred, len(self._brackets))
        self.pieces.append("]")
        return token.end()

    def _make_link(self, bracket: _Bracket, address: str) -> None:
        self._resolve(bracket.runs_before)
        self.pieces[bracket.piece] = ""
        self._barred = min(self._barred, len(self._brackets))
        if bracket.is_image:
            return
        self._barred = len(self._brackets)
        if self._keep_addresses and address not in ("", "".join(self.pieces[bracket.piece :])):
            self.pieces.append(f" ({address})")

    def _resolve(self, first: int) -> None:
        """Takes away the marks of the emphasis among the runs from `first` on, and the runs."""
        _pair_up(self._runs[first:])
        for run in self._runs[first:]:
            self.pieces[run.piece] = run.mark * run.left
        del self._runs[first:]


def _strip_inline(text: str, keep_addresses: bool) -> str:
    return _Inline(text, keep_addresses).read()


def _backtick_runs(text: str) -> dict[int, list[int]]:
    """Where runs of backticks begin, by their length, last first."""
    runs: dict[int, list[int]] = {}
    for run in re.finditer("`+", text):
        runs.setdefault(len(run[0]), []).append(run.start())
    for starts in runs.values():
        starts.reverse()
    return runs


def _run(token: re.Match[str], piece: int) -> _Run:
    """What a run may do follows from the characters on its sides (CommonMark, "flanking")."""
    text, mark, length = token.string, token[0][0], len(token[0])
    before = text[token.start() - 1] if token.start() else " "
    after = text[token.end()] if token.end() < len(text) else " "
    left = not after.isspace() and (not _is_mark(after) or before.isspace() or _is_mark(before))
    right = not before.isspace() and (not _is_mark(before) or after.isspace() or _is_mark(after))
    can_open, can_close = left, right
    if mark == "_":
        can_open = left and (not right or _is_mark(before))
        can_close = right and (not left or _is_mark(after))
    elif mark == "~" and length != 2:
        can_open = can_close = False
    return _Run(piece, mark, length, length, can_open, can_close)


def _is_mark(character: str) -> bool:
    """Punctuation and symbols, which CommonMark treats alike."""
    return unicodedata.category(character)[0] in "PS"


def _pair_up(runs: list[_Run]) -> None:
    """Finds for every closing run its opening ones, innermost first, and shortens both.

    How deep a fruitless search went is kept for the next of its kind, which needn't go there again.
    """
    openers: list[_Run] = []
    floors: dict[tuple[str, bool, int], int] = {}
    for run in runs:
        kind = (run.mark, run.can_open, run.length % 3)
        while run.can_close and run.left:
            floor = min(floors.get(kind, 0), len(openers))
            at = len(openers) - 1
            while at >= floor and not _pair(openers[at], run):
                at -= 1
            if at < floor:
                floors[kind] = len(openers)
                break
            opener = openers[at]
            used = 2 if opener.left >= 2 and run.left >= 2 else 1
            opener.left -= used
            run.left -= used
            del openers[at + (1 if opener.left else 0) :]
            floors = {each: min(depth, len(openers)) for each, depth in floors.items()}
        if run.can_open and run.left:
            openers.append(run)


def _pair(opener: _Run, closer: _Run) -> bool:
    if opener.mark != closer.mark:
        return False
    ambiguous = opener.can_close or closer.can_open
    thirds = (opener.length + closer.length) % 3 == 0 and (opener.length % 3 or closer.length % 3)
    return closer.mark == "~" or not (ambiguous and thirds)
