"""Rows of a job without a job: tasks with made-up results."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from xaiserve.storage.records import RowFormat, Status, TaskRow


@dataclass(frozen=True)
class Place:
    top: int


@dataclass(frozen=True)
class Hit:
    hit: bool


@dataclass(frozen=True)
class Area:
    area_px: int


HITS: Final = RowFormat(Hit, Place)
AREAS: Final = RowFormat(Area, Place)
CONFIGURATION: Final = {"methods": ["rise", "lime"], "seed": 0}


def task(task_id: str, *, method: str = "rise", status: Status = "ok", seed: int = 0) -> TaskRow:
    return TaskRow(
        task_id=task_id,
        row_id=task_id,
        result_id="x",
        image_uri="i.jpg",
        image_name="i.jpg",
        image_sha256="00",
        model_name="m",
        model_digest="11",
        method=method,
        method_version=1,
        params_json='{"cells":8}',
        seed=seed,
        status=status,
        frame=Place(0),
        height=2,
        width=3,
        xaiserve_version="0.1.0",
        created_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    )


def hits(*ids: str, status: Status = "ok", seed: int = 0) -> list[tuple[TaskRow, Hit | None]]:
    found = Hit(True) if status == "ok" else None
    return [(task(i, status=status, seed=seed), found) for i in ids]
