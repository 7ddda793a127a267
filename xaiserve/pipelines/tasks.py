"""Tasks: one per image row and method, each with an id that says all that decides its result."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xaiserve.explainers.base import Explainer
from xaiserve.parameters import parameters_of
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.results import digest_of
from xaiserve.storage.survey import row_digest


@dataclass(frozen=True, slots=True)
class Task:
    """Explain one image by one method."""

    task_id: str
    row: ImageRow


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tasks of one method that one worker explains together and publishes as one part.

    With a reason why they are ``lost`` they are not explained, and their rows give the reason.
    """

    method: str
    tasks: tuple[Task, ...]
    lost: str = ""


def describe(explainer: Explainer) -> dict[str, Any]:  # Any: JSON
    """Return name, version and all parameters of a method, defaults included, as JSON values."""
    parameters = [parameter.name for parameter in parameters_of(type(explainer))]
    return {
        "name": explainer.name,
        "version": explainer.version,
        "parameters": {name: getattr(explainer, name) for name in parameters},
    }


def shared_digest(explainer: Explainer, settings: Mapping[str, Any]) -> str:
    """Return what all tasks of a method have in common in their ids.

    Parameters
    ----------
    settings
        What else decides the results: kind of job, model digest, seed and budget, as JSON values.
    """
    return digest_of([describe(explainer), settings])


def task_id(shared: str, row: bytes) -> str:
    """Make the id of a task from `shared_digest` and `row_digest`."""
    return hashlib.sha256(f"{shared}:{row.hex()}".encode()).hexdigest()


def make_tasks(
    rows: Iterable[ImageRow], explainer: Explainer, settings: Mapping[str, Any]
) -> Iterator[Task]:
    """Make one task per row; see `shared_digest`."""
    shared = shared_digest(explainer, settings)
    return (Task(task_id(shared, row_digest(row)), row) for row in rows)
