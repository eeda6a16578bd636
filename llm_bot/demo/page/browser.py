"""Whether the demo's page is to be opened in a browser, and opening it."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Mapping

_REMOTE = ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_WITH_A_SCREEN = ("darwin", "win32")  # these have no variable that says so
_IN_A_TERMINAL = frozenset({"browsh", "elinks", "links", "lynx", "w3m", "www-browser"})


def wants_browser(
    environment: Mapping[str, str], platform: str, *, has_terminal: bool, browser: str | None
) -> bool:
    """Whether somebody sits here who would see a browser open.

    `platform` is `sys.platform`, `browser` the command that would open the page, if there is one.
    Over SSH the browser would open on the other machine, and one without a display opens none.
    """
    if not has_terminal or any(environment.get(name) for name in _REMOTE):
        return False
    if browser is None or browser.rpartition("/")[2] in _IN_A_TERMINAL:
        return False
    return platform in _WITH_A_SCREEN or any(environment.get(name) for name in _DISPLAYS)


def found_browser() -> str | None:
    """The command, or a name, of the browser that `open_page` would use."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return None
    return str(getattr(found, "name", type(found).__name__))


def open_page(address: str) -> None:
    """Have a browser show it. Nobody waits: some commands end only when the browser does."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
