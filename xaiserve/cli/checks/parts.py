"""A model, a configuration file, and a Ray started here."""

import time
from pathlib import Path
from typing import Any, Final

from xaiserve.cli.checks.finding import Finding

ROWS: Final = 8


def model(source: str, **loading: Any) -> Finding:  # Any: what `load_classifier` takes
    """Load a model and let it score a few pictures.

    Raises
    ------
    XaiServeError
        It cannot be loaded; see `load_classifier`.
    """
    import torch

    from xaiserve.models.loading import load_classifier

    loaded = load_classifier(source, **loading)
    # From black to white: any picture will do, as long as they differ.
    levels = torch.linspace(0, 1, ROWS).reshape(ROWS, 1, 1, 1)
    spec = loaded.spec
    pictures = levels.expand(ROWS, spec.channels, spec.height, spec.width).contiguous()
    loaded.scores(pictures)
    start = time.perf_counter()
    scores = loaded.scores(pictures)
    seconds = time.perf_counter() - start
    told = f"{loaded.name} on {loaded.device}: {scores.shape[1]} classes"
    if not bool(torch.isfinite(scores).all()):
        return Finding(
            name="model",
            state="failed",
            told=f"{told}, and scores that are not numbers",
            todo="check the weights and, in 'xaiserve models inspect', mean, std and range",
        )
    if bool((scores == scores[0]).all()):
        return Finding(
            name="model",
            state="warning",
            told=f"{told}, and the same scores for black and white pictures",
            todo="check the weights and, in 'xaiserve models inspect', mean, std and range",
        )
    return Finding(name="model", state="ok", told=f"{told}, {ROWS / seconds:.0f} pictures/s")


def configuration(file: Path) -> Finding:
    """Check a service's YAML: that of ``xaiserve serve --config`` or of ``serve deploy``.

    Raises
    ------
    InvalidInputError
        It cannot be read, or a setting is unknown or out of range.
    """
    from xaiserve.serve.config import make_config, read_config

    given = read_config(file)
    applications = given.get("applications")
    parts = [each.get("args", {}) for each in applications] if applications else [given]
    names = [name for part in parts for name in make_config(part).models]
    return Finding(name="config", state="ok", told=f"{file} is valid: models {', '.join(names)}")


def local_ray() -> Finding:
    """Start a Ray here, as ``--local`` jobs and ``xaiserve serve`` do, run a task, and end it.

    Raises
    ------
    XaiServeError
        See `ray_for`.
    """
    import ray

    from xaiserve.pipelines.cluster import Placement, ray_for
    from xaiserve.serve.config import prepare_environment

    prepare_environment()
    start = time.perf_counter()
    with ray_for(Placement()):
        ray.get(ray.remote(_nothing).remote())
    seconds = time.perf_counter() - start
    return Finding(
        name="ray", state="ok", told=f"a Ray started here, ran a task and ended: {seconds:.0f} s"
    )


def _nothing() -> None:
    """Be a task."""
