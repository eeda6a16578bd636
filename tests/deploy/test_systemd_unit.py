"""The unit file, read by systemd's own tools, and held against the program that it starts."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llm_bot.cli.output import ExitCode
from llm_bot.config import Config
from llm_bot.config.loader import load_config
from llm_bot.nats_client import client as nats_client
from llm_bot.runtime import announcer as lifecycle
from tests.daemon import ROOT
from tests.integration.test_shutdown import HUNG_SECONDS

UNIT = ROOT / "deploy" / "llm-bot.service"
GUIDE = ROOT / "docs" / "DEPLOYMENT.md"
SECONDS = 60.0
OK_EXPOSURE = 4.9  # systemd calls more than that MEDIUM, then EXPOSED, then UNSAFE
START_SECONDS = (0.5, 2.0)  # from the first instruction to the end of a start that fails
KEY = "sk-from-a-credential"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze isn't installed: apt-get install systemd",
)


class Unit(configparser.RawConfigParser):
    """The file as `[Section]` and `Key=`; of a key that comes twice the later value."""

    def __init__(self) -> None:
        super().__init__(strict=False, delimiters="=", comment_prefixes="#")
        self.read(UNIT, encoding="utf-8")

    def optionxform(self, optionstr: str) -> str:
        return optionstr

    def service(self, key: str) -> str:
        return self.get("Service", key)


@pytest.fixture
def unit() -> Unit:
    return Unit()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The unit as it stands, but for the place of the program: systemd wants it to be there."""
    copy: Path = tmp_path_factory.mktemp("unit") / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    assert text.count("ExecStart=/opt/llm-bot/bin/llm-bot ") == 1
    copy.write_text(text.replace("ExecStart=/opt/llm-bot/bin/llm-bot ", "ExecStart=/bin/true "))
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=SECONDS
    )


@needs_systemd
def test_systemd_understands_it(installed):
    """SVC-7: not a word of complaint; an unknown key would be one, with exit code 0."""
    done = analyze("verify", str(installed))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@needs_systemd
def test_systemd_would_complain(installed, tmp_path):
    """That the test above can fail: a key with a slip in it."""
    broken = tmp_path / UNIT.name
    broken.write_text(installed.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", str(broken)).stderr


@needs_systemd
def test_its_exposure(installed):
    """SVC-7: systemd's own measure of what a taken-over process could do says OK, or better."""
    done = analyze("security", "--offline=yes", "--no-pager", str(installed))
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d) (\w+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= OK_EXPOSURE
    assert found[2] in {"OK", "SAFE", "PERFECT"}


def test_no_start_that_cannot_succeed(unit):
    """SVC-8: none after a configuration error or wrong arguments; nothing runs before the bot,
    whose failure would count as another."""
    assert unit.service("Restart") == "on-failure"
    prevented = unit.service("RestartPreventExitStatus").split()
    assert prevented == [str(int(code)) for code in (ExitCode.CONFIG, ExitCode.USAGE)]
    assert not unit.has_option("Service", "ExecStartPre")


def test_the_rate_limit_fits(unit):
    """SVC-8: a crash at every start ends it, however long a start takes; waiting for NATS doesn't,
    whose tries are slower."""
    interval = float(unit.get("Unit", "StartLimitIntervalSec"))
    burst = int(unit.get("Unit", "StartLimitBurst"))
    pause = float(unit.service("RestartSec"))
    assert burst * (pause + START_SECONDS[1]) <= interval
    mean_wait = sum(pauses(tries=tries())) / 2
    assert burst * (pause + START_SECONDS[0] + mean_wait) > 1.3 * interval


def tries() -> int:
    return default("nats.max_reconnect_attempts")


def default(path: str) -> int:
    section, _, key = path.rpartition(".")
    fields = Config.model_fields
    if section:
        annotation = fields[section].annotation
        assert annotation is not None
        fields = annotation.model_fields
    value = fields[key].default
    return int(value)


def pauses(*, tries: int) -> list[float]:
    """The longest pauses between so many tries for NATS."""
    base, cap = nats_client.BACKOFF_BASE, nats_client.BACKOFF_CAP
    return [min(cap, base * 2.0**each) for each in range(tries - 1)]


def test_the_time_to_start_fits_the_tries(unit):
    """SVC-8: NATS away with the default configuration: the bot ends by itself, with exit code 2."""
    one_try = default("nats.connect_timeout") + nats_client.DISCONNECT_SECONDS
    longest = tries() * one_try + sum(pauses(tries=tries()))
    assert longest + 10 < float(unit.service("TimeoutStartSec"))


def test_the_time_to_stop_fits_the_grace_period(unit):
    """SVC-8: replies under way, the last words, closing with a NATS that hangs."""
    longest = default("shutdown_grace_seconds") + lifecycle.FAREWELL_SECONDS + HUNG_SECONDS
    assert longest + 10 < float(unit.service("TimeoutStopSec"))


def test_what_the_program_relies_on(unit):
    """SVC-1, SVC-7: notifications reach systemd, a reload the program."""
    assert unit.service("Type") == "notify"
    assert "AF_UNIX" in unit.service("RestrictAddressFamilies").split()
    assert unit.service("ExecReload").endswith("-HUP $MAINPID")
    assert unit.service("DynamicUser") == "yes"


CONFIGURATION = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def test_a_key_from_a_credential(unit, tmp_path):
    """SVC-9: the guide's configuration reads its key from where the unit puts it."""
    name, _, source = unit.service("LoadCredential").partition(":")
    guide = GUIDE.read_text(encoding="utf-8").partition("\n## systemd\n")[2].partition("\n## ")[0]
    assert source in guide
    (configuration,) = [
        block for block in CONFIGURATION.findall(guide) if "CREDENTIALS_DIRECTORY" in block
    ]
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / name).write_text(f"{KEY}\n", encoding="utf-8")
    file = tmp_path / "config.yaml"
    file.write_text(configuration, encoding="utf-8")
    loaded = load_config(file, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    key = loaded.config.llm_api.api_key
    assert key is not None
    assert key.get_secret_value() == KEY
    assert loaded.warnings == ()
