"""Results as Arrow rows and back, derived from the fields, so that a new method needs no code.

A row of a job is one task, an image explained by a method: the columns of `TaskRow`, the same for
every method, and then one column per field of the method's result. See `codecs` for how each type
is stored.
"""

import dataclasses
import datetime as dt
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

import pyarrow as pa

from xaiserve.storage.codecs import Columns, codec_of, columns_of

R = TypeVar("R")

Status = Literal["ok", "error", "invalid_image", "none"]
"""``none``: the method has no answer for this image, which is a result and no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """What every row says, whatever the method and whether it went well.

    Parameters
    ----------
    task_id
        Digest of row id, method and configuration: one row each in a finished job.
    row_id, image_uri, image_name, image_sha256
        The line of the input, and the picture it names; the digest is empty when the picture could
        not be read.
    result_id
        Digest of all that decides the result: picture, model, method, version, parameters, seed.
    target, target_label, confidence
        The class that is explained, its name, and the model's score for it on the whole picture.
    model_inputs, repeated_questions
        Rows that the model scored, and questions answered without it.
    device_seconds, wall_seconds
        Time on the model's device, and in all.
    frame
        How the model's input lies in the picture: a dataclass, of the kind that `RowFormat` names.
    height, width
        Size of the model's input in pixels; maps and masks have it.
    created_at
        When the row was made, with a time zone.
    """

    task_id: str
    row_id: str
    result_id: str
    image_uri: str
    image_name: str
    image_sha256: str
    model_name: str
    model_digest: str
    method: str
    method_version: int
    params_json: str
    seed: int
    status: Status
    error_kind: str | None = None
    error_text: str | None = None
    target: int | None = None
    target_label: str | None = None
    confidence: float | None = None
    model_inputs: int = 0
    repeated_questions: int = 0
    device_seconds: float = 0.0
    wall_seconds: float = 0.0
    frame: object = None
    height: int
    width: int
    xaiserve_version: str
    created_at: dt.datetime


def schema_of(result_type: type) -> pa.Schema:
    """Return the Arrow schema of a dataclass.

    Raises
    ------
    TypeError
        A field has a type that cannot be stored; the message names it.
    """
    return pa.schema(
        [pa.field(column, codec.arrow) for column, codec in columns_of(result_type).values()]
    )


def to_rows(results: Sequence[object]) -> list[dict[str, Any]]:
    """Turn instances of one dataclass into rows of plain values."""
    return [
        {
            column: codec.encode(getattr(result, name))
            for name, (column, codec) in columns_of(type(result)).items()
        }
        for result in results
    ]


def to_table(results: Sequence[R], result_type: type[R]) -> pa.Table:
    """Turn instances of one dataclass into a table; none make an empty one."""
    return pa.Table.from_pylist(to_rows(results), schema=schema_of(result_type))


def from_rows(result_type: type[R], rows: Sequence[Mapping[str, Any]]) -> list[R]:
    """Turn rows back into instances; columns that are no field of the dataclass are ignored."""
    columns = columns_of(result_type)
    return [
        result_type(
            **{name: codec.decode(row[column]) for name, (column, codec) in columns.items()}
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class RowFormat(Generic[R]):
    """How the tasks of one method are stored: `TaskRow`, and the method's result beside it.

    A field that both have, such as ``target``, is stored once.

    Parameters
    ----------
    result_type
        The method's result.
    frame_type
        The dataclass in `TaskRow.frame`.
    """

    result_type: type[R]
    frame_type: type

    @property
    def schema(self) -> pa.Schema:
        """All columns; a failed task has nulls in those of the result."""
        common, own = _task_columns(self.frame_type), self._own_columns()
        return pa.schema(
            [pa.field(column, codec.arrow) for column, codec in (*common.values(), *own.values())]
        )

    def to_table(self, rows: Sequence[tuple[TaskRow, R | None]]) -> pa.Table:
        """Turn tasks and their results, None where a task has none, into a table.

        Raises
        ------
        ValueError
            A task that is ``ok`` lacks its result, another has one, or a result contradicts its
            task in a field that both have.
        """
        return pa.Table.from_pylist([self._encode(*row) for row in rows], schema=self.schema)

    def from_table(self, table: pa.Table) -> list[tuple[TaskRow, R | None]]:
        """Turn a table back; a task whose status is not ``ok`` has no result."""
        return [self._decode(row) for row in table.to_pylist()]

    def _own_columns(self) -> Columns:
        common = _task_columns(self.frame_type)
        every = columns_of(self.result_type)
        for name in every.keys() & common.keys():
            if every[name][1].arrow != common[name][1].arrow:
                raise TypeError(
                    f"{self.result_type.__name__}.{name} must be stored as "
                    f"{common[name][1].arrow}, as in TaskRow"
                )
        return {name: found for name, found in every.items() if name not in common}

    def _encode(self, task: TaskRow, result: R | None) -> dict[str, Any]:
        if (task.status == "ok") != (result is not None):
            raise ValueError(
                f"task {task.task_id} must have a result exactly when it is ok, is {task.status}"
            )
        row = {
            column: codec.encode(getattr(task, name))
            for name, (column, codec) in _task_columns(self.frame_type).items()
        }
        for column, stored in (to_rows([result])[0] if result is not None else {}).items():
            if row.setdefault(column, stored) != stored:
                raise ValueError(
                    f"{column} of task {task.task_id} is {row[column]!r}, its result's {stored!r}"
                )
        return row

    def _decode(self, row: Mapping[str, Any]) -> tuple[TaskRow, R | None]:
        columns = _task_columns(self.frame_type)
        task = TaskRow(
            **{name: codec.decode(row[column]) for name, (column, codec) in columns.items()}
        )
        return task, from_rows(self.result_type, [row])[0] if task.status == "ok" else None


@lru_cache(maxsize=8)
def _task_columns(frame_type: type) -> Columns:
    hints = typing.get_type_hints(TaskRow) | {"frame": frame_type | None}
    return {
        field.name: (field.name, codec_of(hints[field.name]))
        for field in dataclasses.fields(TaskRow)
    }
