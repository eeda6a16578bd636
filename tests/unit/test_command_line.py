"""The command line: what runs for which arguments, exit codes, and how wrong usage is met."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from llm_bot import __version__
from llm_bot.__main__ import main
from llm_bot.cli.run import loop_factory

COMMANDS = ["check", "schema", "demo", "healthcheck"]
SECONDS = 30.0
MODULE = [sys.executable, "-m", "llm_bot"]
SCRIPT = [str(Path(sys.executable).with_name("llm-bot"))]

Run = Callable[..., int]
Options = dict[str, object]
Replace = Callable[[Run], None]


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """The daemon's command holds SIGHUP back until the process ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture
def replace_commands(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Has every command call the given function instead, with its name before the arguments."""

    def replace(function: Run) -> None:
        def imported(name: str) -> SimpleNamespace:
            command = name.removeprefix("llm_bot.cli.")
            return SimpleNamespace(run=lambda **named: function(command, **named))

        monkeypatch.setattr("llm_bot.__main__._import", imported)

    return replace


A, B = Path("a.yaml"), Path("b.yaml")
DEMO: Options = {
    "speed": 2.5, "recording": None, "port": None, "opens_browser": True, "in_terminal": False
}  # fmt: skip
WHY: Options = {"channel": None, "last": 20, "correlation_id": None, "url": None, "as_json": False}
CALLS: list[tuple[str, str, Options]] = [
    ("", "run", {}),
    ("--config a.yaml", "run", {"config_path": A}),
    ("--config=a.yaml", "run", {"config_path": A}),
    ("--log-level debug --dry-run", "run", {"log_level": "DEBUG", "dry_run": True}),
    ("check", "check", {"strict": False}),
    ("check --config a.yaml --strict", "check", {"config_path": A, "strict": True}),
    ("--config a.yaml check", "check", {"config_path": A, "strict": False}),
    ("--config a.yaml check --config b.yaml", "check", {"config_path": B, "strict": False}),
    ("schema", "schema", {}),
    ("demo", "demo", DEMO),
    ("demo --config a.yaml --speed 4", "demo", {**DEMO, "config_path": A, "speed": 4.0}),
    (
        "demo --recording r.jsonl --terminal",
        "demo",
        {**DEMO, "recording": Path("r.jsonl"), "in_terminal": True},
    ),
    ("demo --port 0 --no-browser", "demo", {**DEMO, "port": 0, "opens_browser": False}),
    ("models --config a.yaml", "models", {"config_path": A}),
    ("why", "why", WHY),
    (
        "why --channel c --last 7 --id i --url http://h --json",
        "why",
        {"channel": "c", "last": 7, "correlation_id": "i", "url": "http://h", "as_json": True},
    ),
    ("healthcheck", "healthcheck", {}),
]


@pytest.mark.parametrize(("line", "command", "options"), CALLS, ids=[call[0] for call in CALLS])
def test_arguments_reach_their_command(
    replace_commands: Replace, line: str, command: str, options: Options
) -> None:
    """Each command gets its own arguments; without a command the daemon runs."""
    calls: list[tuple[str, Options]] = []

    def record(name: str, **named: object) -> int:
        calls.append((name, named))
        return 7

    replace_commands(record)
    assert main(line.split()) == 7
    assert calls == [(command, options)]
    run = importlib.import_module(f"llm_bot.cli.{command}").run
    inspect.signature(run).bind(**options)


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("chekc", "chekc"),
        ("--confg=a.yaml", "--confg"),
        ("--conf=a.yaml", "--conf"),
        ("--config", "--config"),
        ("--log-level LOUD", "LOUD"),
        ("check extra", "extra"),
        ("check --stri", "--stri"),
        ("schema --strict", "--strict"),
        ("demo --speed 0", "--speed"),
        ("demo --speed -1", "--speed"),
        ("demo --speed inf", "--speed"),
        ("demo --speed nan", "--speed"),
        ("demo --speed fast", "fast"),
        ("--dry-run check", "--dry-run"),
        ("--log-level INFO demo", "--log-level"),
        ("check a\x1b[2J", "a?[2J"),
    ],
)
def test_wrong_usage_is_one_line_and_64(
    replace_commands: Replace, capsys: pytest.CaptureFixture[str], line: str, about: str
) -> None:
    """Wrong usage runs nothing, exits with 64 and says in one line on standard error what."""
    # LIFE-5
    replace_commands(lambda *args, **kwargs: pytest.fail("ran"))
    assert main(line.split(" ")) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("llm-bot")
    assert about in err
    assert err.removesuffix("\n").isprintable()


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"llm-bot {__version__}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """`--help` of each command explains it and each of its options, under the program's name."""
    assert main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: llm-bot {command}".rstrip())
    options = [row for row in text.split("options:")[1].splitlines() if row.startswith("  -")]
    for row in options:
        assert "  " in row.strip() or text.split(row)[1].startswith("\n      "), row


def test_help_names_all_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The program's help lists what there is and what its exit codes mean."""
    main(["--help"])
    text = capsys.readouterr().out
    for name in [*COMMANDS, "--config", "--log-level", "--dry-run", "--version", "64", "130"]:
        assert f" {name} " in text


def test_interrupted_command_ends_with_130(
    replace_commands: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C outside the daemon's own handling ends it without a traceback."""

    def interrupted(*args: object, **kwargs: object) -> int:
        raise KeyboardInterrupt

    replace_commands(interrupted)
    assert main(["check"]) == 130
    assert capsys.readouterr() == ("", "")


def test_uncaught_exception_is_logged_and_3(
    replace_commands: Replace, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected is in the log with its traceback, and the exit code is 3 (LIFE-5)."""

    def broken(*args: object, **kwargs: object) -> int:
        raise RuntimeError("surprise")

    replace_commands(broken)
    assert main([]) == 3
    assert [record.message for record in caplog.records] == ["app.crashed"]
    assert "surprise" in caplog.text


def test_closed_standard_output_is_survived(
    replace_commands: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was started without a standard output runs all the same."""
    replace_commands(lambda *args, **kwargs: 0)
    monkeypatch.setattr(sys, "stdout", None)
    assert main([]) == 0


# --- the real program ----------------------------------------------------------------------


def _run(program: list[str], *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        **more,
    )


@pytest.mark.parametrize("program", [MODULE, SCRIPT], ids=["module", "script"])
def test_module_and_script_are_the_same_program(program: list[str]) -> None:
    """`python -m llm_bot` and `llm-bot` give the same answers and exit codes."""
    ended = _run(program, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"llm-bot {__version__}\n")
    ended = _run(program, "nonsense")
    assert (ended.returncode, ended.stdout) == (64, "")
    assert ended.stderr.startswith("llm-bot: ")


@pytest.mark.parametrize("arguments", [["schema"], ["--help"]], ids=["schema", "help"])
def test_reader_that_goes_away_causes_no_noise(arguments: list[str]) -> None:
    """`llm-bot schema | head`: no traceback, and the exit code of any program in that place."""
    buffered = {key: os.environ[key] for key in os.environ if key != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*MODULE, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=buffered,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(writer)
    assert ended.stderr == ""
    assert ended.returncode == 141


def test_closed_standard_error_is_survived(tmp_path: Path) -> None:
    """A daemon that was started without a standard error has nowhere to log to, and runs (`2>&-`).

    It comes as far as to NATS, which isn't there.
    """
    (tmp_path / "config.yaml").write_text(
        "nats: {servers: [nats://127.0.0.1:1], max_reconnect_attempts: 1}\n"
        "channels: [{name: room}]\n"
        "bot: {username: MyBot}\n"
        "llm_api: {provider: ollama, base_url: http://127.0.0.1:1/v1, model: m}\n"
        "health: {port: 0}\n"
    )
    ended = _run(["sh", "-c", 'exec "$0" "$@" 2>&-', *MODULE], cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")


def test_poor_locale_stops_nothing(tmp_path: Path) -> None:
    """A text that standard output can't show in this locale is spelled out."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict"}
    ended = _run(MODULE, "check", "--config", "ünset.yaml", cwd=tmp_path, env=environment)
    assert ended.returncode == 1
    assert "\\xfcnset.yaml" in ended.stdout
    assert ended.stderr == ""


def test_version_needs_no_library() -> None:
    """`--version` answers at once: nothing but the standard library is imported for it."""
    code = (
        "import sys; from llm_bot.__main__ import main; main(['--version']); "
        "print({'pydantic', 'nats', 'aiohttp', 'httpx', 'msgspec', 'asyncio'} & set(sys.modules))"
    )
    assert _run([sys.executable, "-c", code]).stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("argv", "hinted"),
    [
        (["check", "config.yaml"], True),
        (["check", "my.yml"], True),
        (["check", "a.yaml", "b.yaml"], False),
        (["check", "--strictly"], False),
    ],
)
def test_a_file_where_none_is_taken(capsys, argv, hinted):
    """Whoever leaves out --config is told of it."""
    assert main(argv) == 64
    told = capsys.readouterr().err
    assert (f"did you mean --config {argv[-1]}?" in told) is hinted
    assert told.count("\n") == 1


def test_loop_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop's where it is installed, asyncio's own, which is None, where it isn't."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
    module = ModuleType("uvloop")
    module.__spec__ = ModuleSpec("uvloop", None)
    module.new_event_loop = asyncio.new_event_loop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uvloop", module)
    assert loop_factory() is asyncio.new_event_loop
