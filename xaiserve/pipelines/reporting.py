"""The page of a finished job, made from its rows alone.

Pictures are drawn again from the stored maps and masks over the images that the rows name.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.frame import Frame
from xaiserve.pipelines.finishing import finds_sets
from xaiserve.pipelines.highlights import Chosen, Highlights, highlights_of
from xaiserve.pipelines.loading import read_image
from xaiserve.pipelines.reading import Row, stored_results
from xaiserve.pipelines.summaries import explanation_counts
from xaiserve.pipelines.tables import POINTING_KIND, columns_for, is_scored, table_of
from xaiserve.pipelines.totals import Totals, read_totals
from xaiserve.report.job import Distribution, Example, JobReport, job_page
from xaiserve.report.overlays import over_original
from xaiserve.report.page import Figure, embeddable, figures, number
from xaiserve.report.panels import draw
from xaiserve.report.presenting import presenter_of
from xaiserve.storage.dataset import each_row, read_manifest
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.pictures import decode
from xaiserve.storage.records import TaskRow
from xaiserve.storage.versions import JOB

REPORT: Final = "_report.html"
_SIDE_PX: Final = 1000
_PANEL_PX: Final = 480
_COMMON: Final = ("method", "row_id", "image_name", "status", "error_text", "target_label")


def write_report(store: ObjectStore) -> str:
    """Write ``_report.html`` beside the rows of a finished job, and return its text.

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
    job: Row = json.loads(store.read(JOB))["configuration"]
    kind, names = job["kind"], job.get("scores", [])
    pointing, scored = kind == POINTING_KIND, is_scored(kind, names)
    columns = list(dict.fromkeys((*_COMMON, *columns_for(kind, names))))
    totals = read_totals(store)
    shown = highlights_of(each_row(store, columns), pointing=pointing)
    best, worst, examples = _examples(
        store, (shown.best, shown.worst, {} if scored else shown.first)
    )
    return JobReport(
        title="Pointing game" if pointing else "Explanations of a data set",
        setting=_setting(store, job, totals, shown),
        summary=table_of(each_row(store, columns), kind, names, job["seed"]),
        distributions=_distributions(store, totals),
        best=best,
        worst=worst,
        examples=examples,
        failures=shown.failures,
        failed=shown.failed,
    )


def _setting(
    store: ObjectStore, job: Row, totals: Totals, shown: Highlights
) -> tuple[tuple[str, str], ...]:
    inputs = sum(each.model_inputs * (each.ok + each.none + each.failed) for each in totals.methods)
    return (
        ("output", store.uri),
        ("images", str(job["images"]["rows"])),
        ("methods", ", ".join(each.method for each in totals.methods)),
        ("rows", str(totals.rows)),
        ("failed", str(totals.failed)),
        ("model inputs", f"{inputs:.0f}"),
        *([("model inputs of scores", str(shown.score_inputs))] if job.get("scores") else ()),
        ("seed", str(job["seed"])),
        ("model digest", job["model"][:16]),
    )


def _distributions(store: ObjectStore, totals: Totals) -> tuple[Distribution, ...]:
    return tuple(
        Distribution(method=each.method, images=explanation_counts(store, each.method))
        for each in totals.methods
        if finds_sets(make_explainer(each.method))
    )


def _examples(store: ObjectStore, lists: Sequence[Chosen]) -> Iterator[tuple[Example, ...]]:
    """Draw the rows of each list; those of one method are read at once, for all lists."""
    drawn: dict[tuple[str, str], Example] = {}
    for method in dict.fromkeys(chain(*lists)):
        row_ids = [row_id for chosen in lists for row_id in chosen.get(method, ())]
        for task, result, scored in stored_results(store, method, row_ids):
            drawn[method, task.row_id] = _example(task, result, scored)
    for chosen in lists:
        pairs = [(method, row_id) for method, row_ids in chosen.items() for row_id in row_ids]
        yield tuple(drawn[pair] for pair in pairs if pair in drawn)


def _example(task: TaskRow, result: Explanation, scored: Row) -> Example:
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
    own: tuple[Figure, ...] = ()
    broad = False
    try:
        original = decode(read_image(task.image_uri)).image
    except XaiServeError as error:
        facts.append(("no picture", str(error)))
    else:
        found = over_original(result, _frame(task), original, getattr(result, "region", None))
        own, broad = figures(found.panels, _PANEL_PX), found.sets is not None
        picture = None if own else embeddable(draw(found), _SIDE_PX)
    return Example(
        name=task.image_name or task.row_id,
        facts=tuple(facts),
        picture=picture,
        broad=broad,
        figures=own,
    )


def _frame(task: TaskRow) -> Frame:
    assert isinstance(task.frame, Frame), f"row {task.row_id} is ok and has no frame"  # noqa: S101
    return task.frame
