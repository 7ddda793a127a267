"""The page of a finished job, made from its rows alone.

Pictures are drawn again from the stored maps and masks over the images that the rows name.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.frame import Frame
from xaiserve.pipelines.finishing import finds_sets
from xaiserve.pipelines.loading import read_image
from xaiserve.pipelines.reading import stored_results
from xaiserve.pipelines.summaries import explanation_counts
from xaiserve.pipelines.tables import POINTING_KIND, columns_for, is_scored, table_of
from xaiserve.pipelines.totals import Totals, read_totals
from xaiserve.report.job import Distribution, Example, FailedRow, JobReport, job_page
from xaiserve.report.overlays import over_original
from xaiserve.report.page import embeddable, number
from xaiserve.report.panels import draw
from xaiserve.report.presenting import presenter_of
from xaiserve.storage.dataset import read_manifest, read_rows
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.outcomes import FAILURES
from xaiserve.storage.pictures import decode
from xaiserve.storage.records import TaskRow

REPORT: Final = "report.html"
PER_METHOD: Final = 3
"""Best cases, and worst cases, per method."""

LISTED: Final = 50
"""Failed rows on the page."""

_SIDE_PX: Final = 1000
_COMMON: Final = ("method", "row_id", "image_name", "status", "error_text", "target_label")
_Row = Mapping[str, Any]  # a row's columns differ in type


def write_report(store: ObjectStore) -> str:
    """Write ``report.html`` beside the rows of a finished job, and return its text.

    Raises
    ------
    InvalidInputError
        The job has not finished.
    """
    page = job_page(job_report(store))
    store.write(REPORT, page.encode())
    return page


def job_report(store: ObjectStore) -> JobReport:
    """Read a finished job's rows; see `write_report`."""
    if read_manifest(store) is None:
        raise InvalidInputError(f"output {store.uri} must hold a finished job; this one is not")
    job: _Row = json.loads(store.read("job.json"))["configuration"]
    kind, names = job["kind"], job.get("scores", [])
    pointing, scored = kind == POINTING_KIND, is_scored(kind, names)
    columns = dict.fromkeys((*_COMMON, *columns_for(kind, names)))
    rows: list[_Row] = read_rows(store, list(columns)).to_pylist()
    totals = read_totals(store)
    failures = [row for row in rows if row["status"] in FAILURES]
    best, worst = _extremes(rows, pointing=pointing) if scored else ({}, {})
    return JobReport(
        title="Pointing game" if pointing else "Explanations of a data set",
        setting=_setting(store, job, totals, rows),
        summary=table_of(rows, kind, names, job["seed"]),
        distributions=_distributions(store, totals),
        best=_examples(store, best),
        worst=_examples(store, worst),
        examples=() if scored else _examples(store, _first(rows)),
        failures=tuple(
            FailedRow(name=row["row_id"], method=row["method"], reason=row["error_text"] or "")
            for row in failures[:LISTED]
        ),
        failed=len(failures),
    )


def _setting(
    store: ObjectStore, job: _Row, totals: Totals, rows: Sequence[_Row]
) -> tuple[tuple[str, str], ...]:
    inputs = sum(each.model_inputs * (each.ok + each.none + each.failed) for each in totals.methods)
    return (
        ("output", store.uri),
        ("images", str(job["images"]["rows"])),
        ("methods", ", ".join(each.method for each in totals.methods)),
        ("rows", str(totals.rows)),
        ("failed", str(totals.failed)),
        ("model inputs", f"{inputs:.0f}"),
        *([("model inputs of scores", str(_score_inputs(rows)))] if job.get("scores") else ()),
        ("seed", str(job["seed"])),
        ("model digest", job["model"][:16]),
    )


def _score_inputs(rows: Sequence[_Row]) -> int:
    return sum(row["curve_model_inputs"] or 0 for row in rows)


def _distributions(store: ObjectStore, totals: Totals) -> tuple[Distribution, ...]:
    return tuple(
        Distribution(method=each.method, images=explanation_counts(store, each.method))
        for each in totals.methods
        if finds_sets(make_explainer(each.method))
    )


_Chosen = Mapping[str, Sequence[str]]
"""Row ids per method, in the order in which they are shown."""


def _extremes(rows: Sequence[_Row], *, pointing: bool) -> tuple[_Chosen, _Chosen]:
    """Rank by agreement with the ground truth, or with the model; short lists share no image."""
    column, merit = ("energy", _agreement) if pointing else ("insertion", _faithfulness)
    by_method = _by_method(rows, lambda row: row[column] is not None)
    ranked = {
        method: [row["row_id"] for row in sorted(own, key=merit, reverse=True)]
        for method, own in by_method.items()
    }
    halves = {method: min(PER_METHOD, (len(ids) + 1) // 2) for method, ids in ranked.items()}
    best = {method: ids[: halves[method]] for method, ids in ranked.items()}
    worst = {method: ids[halves[method] :][-PER_METHOD:][::-1] for method, ids in ranked.items()}
    return best, worst


def _agreement(row: _Row) -> tuple[float, float, str]:
    """Rank by the pointing game, then by energy, then by id."""
    hit = row["pointing_game"]
    return (-1.0 if hit is None else hit, row["energy"], row["row_id"])


def _faithfulness(row: _Row) -> tuple[float, float, str]:
    """Rank by insertion less deletion, then by insertion, then by id."""
    return (row["insertion"] - row["deletion"], row["insertion"], row["row_id"])


def _first(rows: Sequence[_Row]) -> _Chosen:
    return {
        method: sorted(row["row_id"] for row in own)[:PER_METHOD]
        for method, own in _by_method(rows, lambda _: True).items()
    }


def _by_method(rows: Sequence[_Row], wanted: Callable[[_Row], bool]) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    for row in rows:
        if row["status"] == "ok" and wanted(row):
            found.setdefault(row["method"], []).append(row)
    return found


def _examples(store: ObjectStore, chosen: _Chosen) -> tuple[Example, ...]:
    return tuple(
        _example(task, result, scored)
        for method, row_ids in chosen.items()
        for task, result, scored in stored_results(store, method, row_ids)
    )


def _example(task: TaskRow, result: Explanation, scored: _Row) -> Example:
    facts = [
        ("method", task.method),
        ("target", f"{task.target_label} {number(task.confidence)}"),
        ("model inputs", str(task.model_inputs)),
    ]
    presenter = presenter_of(result)
    if presenter is not None:
        facts.append(("found", presenter.headline(result)))
    if "energy" in scored:
        facts.append(("pointing game", number(scored["pointing_game"], 2)))
        facts.append(("energy in the object", number(scored["energy"])))
        facts.append(("grid squares", number(scored["grid_pointing"], 2)))
    if "insertion" in scored:
        facts.append(("insertion", number(scored["insertion"])))
        facts.append(("deletion", number(scored["deletion"])))
    picture: bytes | None = None
    try:
        original = decode(read_image(task.image_uri)).image
    except XaiServeError as error:
        facts.append(("no picture", str(error)))
    else:
        drawn = draw(over_original(result, _frame(task), original, getattr(result, "region", None)))
        picture = embeddable(drawn, _SIDE_PX)
    return Example(name=task.image_name or task.row_id, facts=tuple(facts), picture=picture)


def _frame(task: TaskRow) -> Frame:
    assert isinstance(task.frame, Frame), f"row {task.row_id} is ok and has no frame"  # noqa: S101
    return task.frame
