"""The demo in the browser: whether one is opened, and where the page is."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Mapping

from llm_bot.demo.setting import HOST
from llm_bot.demo.stage import Stage, introduction

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
    """The command, or a name, of the browser that would open the page."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return None
    return str(getattr(found, "name", type(found).__name__))


def free_port(port: int) -> int:
    """`port`, or any free one if it is 0. Raises `OSError` if it can't be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        found: int = probe.getsockname()[1]
    return found


async def show(stage: Stage, *, port: int, opens_browser: bool) -> None:
    """Say where the page is, open it if somebody sees it, and play."""
    address = f"http://{HOST}:{port}/"
    print("llm_bot demo")
    for label, text in (
        ("Page", address),
        *introduction(stage.setting),
        ("Text", "all of it is on the page, as its people are invented."),
        ("Leave", "Ctrl-C."),
    ):
        print(f"  {label:<8} {text}", flush=True)
    if opens_browser:
        # Nobody waits: some commands end only when the browser does.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    await stage.play()
