"""The benchmarks still work: the shortest flood of a bare subscriber and of the whole daemon."""

from __future__ import annotations

import sys

import pytest

from benchmarks import flood
from benchmarks.bot import Bot
from benchmarks.flood import BARE, WHOLE
from benchmarks.processes import CAN_MEASURE, BenchmarkError, Process


@pytest.mark.skipif(not CAN_MEASURE, reason="the kernel doesn't tell CPU times in /proc")
def test_a_flood_is_measured_and_nothing_of_it_is_lost():
    runs = flood.compare(dict.fromkeys((BARE, WHOLE), sys.executable), 2, 1, share=0.02)
    assert runs.keys() == {BARE, WHOLE}
    for (run,) in runs.values():
        assert run.rate > 0
        assert run.cpu_us > 0


def test_a_process_that_ends_is_an_error_with_its_last_words():
    code = "print('{}'); print('no such room'); raise SystemExit(7)"
    with Process([sys.executable, "-c", code], says="stdout") as process:
        assert process.line()[1] == {}
        with pytest.raises(BenchmarkError, match=r"(?s)ended with 7.*no such room"):
            process.until(lambda line: line.get("ready"))


def test_a_daemon_that_does_not_start_is_an_error_and_gone():
    bot = Bot({"bot": {}})
    with pytest.raises(BenchmarkError, match="ended with 1"):
        bot.ready()
    assert not bot.process.is_there
