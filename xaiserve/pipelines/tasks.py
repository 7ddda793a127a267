"""Tasks: one per image row and method, each with an id that says all that decides its result."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xaiserve.explainers.base import Explainer
from xaiserve.parameters import parameters_of
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.results import digest_of

MAX_TASKS_PER_PART: Final = 32
PARTS_PER_WORKER: Final = 4
"""Of what is left, at least: so that all workers are busy to the end."""


@dataclass(frozen=True, slots=True)
class Task:
    """Explain one image by one method."""

    task_id: str
    row: ImageRow


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tasks of one method that one worker explains together and publishes as one part."""

    method: str
    tasks: tuple[Task, ...]

    def to_json(self) -> str:
        """Write the chunk as text; `from_json` reads it back equal."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Chunk":
        """Read what `to_json` wrote."""
        found = json.loads(text)
        tasks = [Task(each["task_id"], ImageRow.from_json(each["row"])) for each in found["tasks"]]
        return cls(found["method"], tuple(tasks))


def describe(explainer: Explainer) -> dict[str, Any]:  # Any: JSON
    """Return name, version and all parameters of a method, defaults included, as JSON values."""
    parameters = [parameter.name for parameter in parameters_of(type(explainer))]
    return {
        "name": explainer.name,
        "version": explainer.version,
        "parameters": {name: getattr(explainer, name) for name in parameters},
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
    shared = digest_of([describe(explainer), settings])
    return tuple(Task(digest_of([shared, dataclasses.astuple(row)]), row) for row in rows)


def tasks_per_part(left: int, workers: int) -> int:
    """Choose the size of the next part, 1 to 32, of so many tasks left for so many workers."""
    return max(1, min(MAX_TASKS_PER_PART, -(-left // (PARTS_PER_WORKER * workers))))


def chunks(
    tasks: Mapping[str, Sequence[Task]], workers: int, size: int | None = None
) -> Iterator[Chunk]:
    """Cut the tasks of each method into chunks, always the same for the same tasks.

    Chunks have ``size``, or else become ever smaller, so that at the end of a job no worker waits
    long for another that has met hard images: 0.3 to 4 % of the job, where chunks of one size cost
    2 to 17 % (simulated: 2 and 8 workers, 50 to 5 000 images, one in ten of them 6 times as hard).
    """
    left = sum(map(len, tasks.values()))
    for method, mine in tasks.items():
        start = 0
        while start < len(mine):
            stop = start + (size or tasks_per_part(left, workers))
            chunk = Chunk(method, tuple(mine[start:stop]))
            left -= len(chunk.tasks)
            start = stop
            yield chunk
