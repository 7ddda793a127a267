import sys
from pathlib import Path

import pytest

from xaiserve.perturb import busy
from xaiserve.perturb.busy import busy_time


@pytest.fixture
def statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's, and a thread that has computed for two seconds."""
    path = tmp_path / "schedstat"
    monkeypatch.setattr(busy, "_STATISTICS", path)
    monkeypatch.setattr(busy, "thread_time", lambda: 2.0)
    return path


def test_waiting_for_a_core_is_being_busy(statistics: Path):
    statistics.write_bytes(b"2000000000 1500000000 7\n")
    assert busy_time() == 3.5


@pytest.mark.parametrize("told", [None, b"", b"2000000000\n", b"no numbers here"])
def test_where_the_kernel_does_not_tell_only_computing_counts(statistics: Path, told: bytes | None):
    if told is not None:
        statistics.write_bytes(told)
    assert busy_time() == 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the file")
def test_the_kernel_tells_of_the_thread_that_asks():
    assert len(busy._STATISTICS.read_bytes().split()) == 3
