"""The machine: CPUs, memory, shared memory and room for Ray, free ports."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from xaiserve.cli.checks.finding import Finding, size
from xaiserve.errors import InvalidInputError

RAY_BYTES: Final = 1 << 30
"""A Ray of our own, without the model."""

OBJECT_STORE_BYTES: Final = 300 << 20
"""What the service's own Ray keeps in shared memory; a job's takes less."""

SOCKET_PATH: Final = 107
"""Bytes in the address of a Unix socket on Linux."""

RAY_SOCKET: Final = "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
"""What Ray appends to the folder for temporary files, at its longest."""


def cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Compare the CPUs that this process may run on with those that its container is granted."""
    visible = len(os.sched_getaffinity(0))
    granted = _granted(cgroup / "cpu.max")
    if granted is not None and granted < visible:
        return Finding(
            name="cpus",
            state="warning",
            told=f"{visible} CPUs are visible, and the container may use {granted:g} of them",
            todo=f"give jobs --workers {max(1, int(granted))}, or lift the container's CPU limit",
        )
    return Finding(name="cpus", state="ok", told=f"{visible} CPUs")


def _granted(file: Path) -> float | None:
    if not file.is_file():
        return None
    quota, _, period = file.read_text().partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def memory(about: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Say how much memory is free, for this container if it has a limit."""
    lines = dict(line.split(":", 1) for line in about.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if limit.is_file() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    if free < RAY_BYTES:
        return Finding(
            name="memory",
            state="failed",
            told=f"{size(free)} are free; Ray needs {size(RAY_BYTES)} besides the model",
            todo="end what else runs, or give the container more; 'xaiserve explain' needs no Ray",
        )
    return Finding(name="memory", state="ok", told=f"{size(free)} are free")


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 -- Ray's place
    """Say whether Ray's object store fits where it belongs."""
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    if free < OBJECT_STORE_BYTES:
        return Finding(
            name="shared memory",
            state="warning",
            told=f"{size(free)} are free in {folder}; Ray's objects go to the disk instead",
            todo="start the container with --shm-size 1g, or mount memory there",
        )
    return Finding(name="shared memory", state="ok", told=f"{size(free)} are free in {folder}")


def temporary(folder: Path | None = None) -> Finding:
    """Say whether Ray can work in the folder for temporary files."""
    place = folder or Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    length = len(f"{place}{RAY_SOCKET}".encode())
    if length > SOCKET_PATH:
        return Finding(
            name="temporary files",
            state="failed",
            told=f"{place} is too long a path for Ray's sockets, by {length - SOCKET_PATH} bytes",
            todo="set TMPDIR to a shorter one, such as /tmp",
        )
    if free < RAY_BYTES:
        return Finding(
            name="temporary files",
            state="warning",
            told=f"{size(free)} are free in {place}, where Ray writes logs and what exceeds memory",
            todo="make room, or set TMPDIR to a larger disk",
        )
    return Finding(name="temporary files", state="ok", told=f"{size(free)} are free in {place}")


def port(host: str, number: int) -> Finding:
    """Say whether the service could listen there."""
    from xaiserve.serve.running import check_port

    try:
        check_port(host, number)
    except InvalidInputError as error:
        return Finding(
            name="port",
            state="failed",
            told=str(error),
            todo=f"end what uses it ('ss -ltnp sport = :{number}' tells), or serve with --port",
        )
    return Finding(name="port", state="ok", told=f"{number} is free on {host}")
