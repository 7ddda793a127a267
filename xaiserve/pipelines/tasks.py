"""Tasks: one per image row and method, each with an id that says all that decides its result."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xaiserve.explainers.base import Explainer
from xaiserve.pipelines.manifest import ImageRow

MAX_TASKS_PER_PART: Final = 32
PARTS_PER_WORKER: Final = 4
"""If there are enough tasks: so that all workers are busy to the end."""


@dataclass(frozen=True, slots=True)
class Task:
    """Explain one image by one method."""

    task_id: str
    row: ImageRow


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tasks of one method that one worker explains together and publishes as one file."""

    method: str
    tasks: tuple[Task, ...]

    @property
    def part(self) -> str:
        """Name of the file, from what is in it: the same chunk always writes the same file."""
        return digest([task.task_id for task in self.tasks])[:16]


def digest(found: object) -> str:
    """Sha256 of the canonical JSON of ``found``."""
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def parameters(explainer: Explainer) -> dict[str, Any]:  # Any: JSON
    """Return all parameters of a method, defaults included, as JSON values."""
    return dataclasses.asdict(explainer)  # type: ignore[call-overload,no-any-return]


def describe(explainer: Explainer) -> dict[str, Any]:  # Any: JSON
    """Return name, version and parameters of a method as JSON values."""
    return {
        "name": explainer.name,
        "version": explainer.version,
        "parameters": parameters(explainer),
    }


def make_tasks(
    rows: Sequence[ImageRow], explainer: Explainer, settings: Mapping[str, Any]
) -> tuple[Task, ...]:
    """Make one task per row.

    Parameters
    ----------
    settings
        What else decides the results: kind of job, model digest, seed and budget, as JSON values.
    """
    shared = digest([describe(explainer), settings])
    return tuple(Task(digest([shared, dataclasses.astuple(row)]), row) for row in rows)


def tasks_per_part(rows: int, workers: int) -> int:
    """Choose the size of a part, 1 to 32, for so many images and workers."""
    return max(1, min(MAX_TASKS_PER_PART, -(-rows // (PARTS_PER_WORKER * workers))))


def chunks(method: str, tasks: Sequence[Task], size: int) -> Iterator[Chunk]:
    """Cut the tasks of one method into chunks, always the same for the same tasks and size."""
    for start in range(0, len(tasks), size):
        yield Chunk(method, tuple(tasks[start : start + size]))
