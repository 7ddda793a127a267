"""``xaiserve results``: rows of a job as a table, as JSON lines, or as pictures."""

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from xaiserve.errors import InvalidInputError

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.pipelines.reading import Row
    from xaiserve.storage.objects import ObjectStore

_WIDEST: Final = 60
_DIGITS: Final = 4
_LIMIT: Final = 20


@click.command(name="results")
@click.option("--out", required=True, help="The output of a job, finished or not.")
@click.option("--columns", metavar="A,B", help="Columns [what a table has room for; JSON: all].")
@click.option("--method", "methods", multiple=True, help="Only rows of this method.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["ok", "none", "error", "invalid_image"]),
    help="Only rows that ended so; repeatable.",
)
@click.option("--row", "row_ids", multiple=True, metavar="ID", help="Only rows of this image.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows [20; JSON: all].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write overlay and masks of each --row there instead.",
)
def command(
    *,
    out: str,
    columns: str | None,
    methods: Sequence[str],
    statuses: Sequence[str],
    row_ids: Sequence[str],
    limit: int | None,
    as_json: bool,
    pictures: Path | None,
) -> None:
    """Print rows of the job at --out, or draw some of them."""
    # Here, because it imports torch.
    from xaiserve.pipelines.exporting import SHORT, matching_rows
    from xaiserve.storage.opening import open_store

    store = open_store(out)
    known = _methods_of(store, out)
    for method in methods:
        if method not in known:
            raise InvalidInputError(f"--method must be one of {', '.join(known)}, got {method!r}")
    if pictures is not None:
        _draw(store, pictures, methods or known, row_ids)
        return
    names = [name.strip() for name in columns.split(",")] if columns else None
    if names is None and not as_json:
        names = list(SHORT)
    rows = matching_rows(store, names, methods=methods, statuses=statuses, row_ids=row_ids)
    if as_json:
        for row in islice(rows, limit):
            click.echo(json.dumps(row, allow_nan=False))
        return
    most = limit or _LIMIT
    shown = list(islice(rows, most + 1))
    click.echo(_table(names or [], shown[:most]))
    if len(shown) > most:
        click.echo("...; --limit shows more, --json all", err=True)


def _methods_of(store: "ObjectStore", out: str) -> list[str]:
    from xaiserve.storage.versions import read_job

    job = read_job(store)
    if job is None:
        raise InvalidInputError(f"output {out} holds no job")
    return [method["name"] for method in job["configuration"]["methods"]]


def _draw(
    store: "ObjectStore", folder: Path, methods: Sequence[str], row_ids: Sequence[str]
) -> None:
    from xaiserve.pipelines.exporting import write_pictures

    if not row_ids:
        raise InvalidInputError("--pictures draws the rows that --row names, and none is named")
    for path in write_pictures(store, folder, methods, row_ids):
        click.echo(str(path))


def _table(names: Sequence[str], rows: Iterable["Row"]) -> str:
    lines = [list(names), *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:  # Any: of Parquet
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
