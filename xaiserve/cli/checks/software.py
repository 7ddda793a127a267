"""Python, the packages, and whether torch and NVIDIA's driver fit each other."""

import ctypes
import platform
import sys
from importlib import metadata
from typing import Final

from packaging.requirements import Requirement

from xaiserve.cli.checks.finding import Finding

PYTHON: Final = (3, 11)

_REINSTALL: Final = "pip install -r requirements.lock"
_CPU_INDEX: Final = "--index-url https://download.pytorch.org/whl/cpu"


def python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Check the interpreter."""
    told = f"Python {platform.python_version()}"
    if version != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        return Finding(
            name="python",
            state="failed",
            told=f"{told}; xaiserve needs {wanted}",
            todo=f"make the environment with python{wanted}",
        )
    return Finding(name="python", state="ok", told=f"{told}, {sys.executable}")


def packages(needed: list[str] | None = None) -> Finding:
    """Check that what xaiserve requires is installed, new enough."""
    texts = metadata.requires("xaiserve") or [] if needed is None else needed
    requirements = [Requirement(text) for text in texts]
    core = [each for each in requirements if each.marker is None]
    wrong = list(filter(None, map(_wrong, core)))
    if wrong:
        return Finding(name="packages", state="failed", told="; ".join(wrong), todo=_REINSTALL)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("xaiserve", "ray"))
    return Finding(name="packages", state="ok", told=f"{versions}, and {len(core) - 1} more")


def _wrong(requirement: Requirement) -> str:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if found not in requirement.specifier:
        return f"{requirement.name} must be {requirement.specifier}, got {found}"
    return ""


def cuda() -> Finding:
    """Check torch's build against the driver, and that the GPU computes."""
    import torch

    built = None if torch.version.cuda is None else _version(torch.version.cuda)
    told = fit(torch.__version__, built, driver_cuda())
    if told.state != "ok" or built is None or driver_cuda() is None:
        return told
    count = torch.cuda.device_count()
    if count and float(torch.ones(8, device="cuda").sum()) == 8:  # noqa: PLR2004
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
        return Finding(name="cuda", state="ok", told=f"{told.told}; {names}")
    return Finding(
        name="cuda",
        state="failed",
        told=f"{told.told}, but torch sees no GPU",
        todo="unset CUDA_VISIBLE_DEVICES, or start the container with --gpus all",
    )


def fit(
    torch_version: str, built: tuple[int, int] | None, driver: tuple[int, int] | None
) -> Finding:
    """Say whether a build of torch for one CUDA runs with a driver for another.

    Parameters
    ----------
    built
        The CUDA that torch was built for; none for a build without.
    driver
        The newest CUDA that the driver runs; none without a driver.
    """
    if built is None and driver is None:
        return Finding(
            name="cuda", state="ok", told=f"torch {torch_version} for CPUs, and no NVIDIA driver"
        )
    if built is None:
        return Finding(
            name="cuda",
            state="warning",
            told=f"this machine has NVIDIA's driver, and torch {torch_version} is built for CPUs",
            todo="install torch without --index-url, to compute with --device cuda",
        )
    name = f"torch {torch_version} for CUDA {_text(built)}"
    if driver is None:
        return Finding(
            name="cuda",
            state="warning",
            told=f"{name}, and no NVIDIA driver: models compute on the CPU",
            todo=f"install NVIDIA's driver; without a GPU, {_CPU_INDEX} saves gigabytes",
        )
    # Since CUDA 11 a driver runs every minor version of its major one.
    if driver[0] < built[0]:
        return Finding(
            name="cuda",
            state="failed",
            told=f"{name}, and the driver runs CUDA up to {_text(driver)}",
            todo="update NVIDIA's driver, or install torch built for an older CUDA "
            f"(--index-url https://download.pytorch.org/whl/cu{driver[0]}{driver[1]})",
        )
    return Finding(name="cuda", state="ok", told=f"{name}, driver for up to {_text(driver)}")


def driver_cuda(library: str = "libcuda.so.1") -> tuple[int, int] | None:
    """Ask the driver for the newest CUDA that it runs; none where there is no driver."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)):
        return None
    return number.value // 1000, number.value % 1000 // 10


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
