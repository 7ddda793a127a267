"""A process as it signs an output, and whether it still lives as far as this machine can tell."""

import dataclasses
import datetime as dt
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

_STATE, _STARTED = 0, 19
"""Places in ``/proc/PID/stat`` after the name, which ends with the last bracket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process.

    Parameters
    ----------
    host, pid
        For people.
    machine
        The boot of the machine and the space of process numbers in it; empty where neither is
        known, as on systems without ``/proc``.
    started
        When the process was started, in ticks of that boot: numbers of processes come again.
    since
        When it signed, in seconds since 1970.
    """

    host: str
    pid: int
    machine: str
    started: int
    since: float

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """Sign for a process of this machine."""
        found = _stat(pid)
        return cls(
            host=socket.gethostname(),
            pid=pid,
            machine=_machine(),
            started=int(found[_STARTED]) if found else 0,
            since=time.time(),
        )

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Owner":  # Any: JSON
        """Read what `to_json` gave, among other fields."""
        return cls(**{each.name: found[each.name] for each in dataclasses.fields(cls)})

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return all fields."""
        return dataclasses.asdict(self)

    @property
    def lives(self) -> bool | None:
        """Say whether the process is there; None of one on another machine.

        None of this process, too: that it is there does not tell whether it still works on that.
        """
        if not self.machine or self.machine != _machine():
            return None
        found = _stat(self.pid)
        there = bool(found) and found[_STATE] not in "ZX" and int(found[_STARTED]) == self.started
        return None if there and self.pid == os.getpid() else there

    @override
    def __str__(self) -> str:
        since = dt.datetime.fromtimestamp(self.since, dt.UTC)
        return f"process {self.pid} of {self.host} since {since:%Y-%m-%d %H:%M:%S} UTC"


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the state on; none of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
