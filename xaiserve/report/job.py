"""`job_page`: the summary of a data set job as one HTML page, complete in itself."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from xaiserve.metrics.deletion import InsertionDeletion
from xaiserve.metrics.estimates import Estimate
from xaiserve.metrics.summary import BASELINES, Cell, MethodSummary, Summary
from xaiserve.report.page import Figure, environment

_BAR_STEP_PX: Final = 36
_BAR_HEIGHT_PX: Final = 76
_CURVES: Final = frozenset({InsertionDeletion.insertion.name, InsertionDeletion.deletion.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One explanation with a picture.

    Parameters
    ----------
    name
        The image, for people.
    facts
        Names and values as they are shown: method, score, number of explanations, ...
    picture
        PNG or JPEG; `xaiserve.report.overlays.overlay_png` draws one. None when it cannot be drawn
        any more; ``facts`` should say why.
    broad
        The picture holds panels beside each other, whose words must stay legible.
    figures
        The method's own panels, shown instead of the picture where it has such.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    picture: bytes | None
    broad: bool = False
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many images have how many explanations.

    Parameters
    ----------
    images
        Number of explanations -> number of images, of one method.
    """

    method: str
    images: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """One image and method without an explanation."""

    name: str
    method: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """All that the page of a job shows.

    Parameters
    ----------
    setting
        Names and values as they are shown: images, model, seed, cost, time, ...
    summary
        The table; none for a job without scores.
    best, worst
        By a score, best and worst first.
    examples
        Chosen without regard to a score; for a job without scores.
    failures
        The first few of ``failed`` rows.
    """

    title: str
    setting: tuple[tuple[str, str], ...]
    summary: Summary | None = None
    distributions: tuple[Distribution, ...] = ()
    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()
    examples: tuple[Example, ...] = ()
    failures: tuple[FailedRow, ...] = ()
    failed: int = 0


def job_page(report: JobReport) -> str:
    """Lay out the summary of a job as HTML."""
    summary = report.summary
    metrics = {column.metric for column in summary.columns} if summary else set()
    return (
        environment()
        .get_template("job.html")
        .render(
            title=report.title,
            setting=report.setting,
            pointing=bool(metrics - _CURVES),
            curves=bool(metrics & _CURVES),
            columns=_titles(summary) if summary else (),
            by_class=summary is not None and _estimates_per_cell(summary) > 1,
            lines=[_line(method, summary) for method in summary.methods] if summary else (),
            histograms=[_histogram(one) for one in report.distributions if one.images],
            best=report.best,
            worst=report.worst,
            examples_shown=report.examples,
            failures=report.failures,
            failed=report.failed,
        )
    )


def _titles(summary: Summary) -> list[str]:
    titles = []
    for column in summary.columns:
        titles += [column.title, f"{column.title} by class"][: _estimates_per_cell(summary)]
    return titles


def _estimates_per_cell(summary: Summary) -> int:
    """Means over classes say something only where there are several."""
    return 2 if summary.classes > 1 else 1


def _line(method: MethodSummary, summary: Summary) -> dict[str, Any]:  # Any: for the template
    return {
        "method": method.method,
        "blind": method.method in BASELINES,
        "images": method.images,
        "cells": [
            estimate
            for cell in method.cells
            for estimate in _estimates(cell)[: _estimates_per_cell(summary)]
        ],
        "nulls": ", ".join(f"{count} {reason}" for reason, count in method.nulls) or "0",
    }


def _estimates(cell: Cell) -> list[dict[str, Any] | None]:
    return [None if one is None else _estimate(one) for one in (cell.micro, cell.macro)]


def _estimate(one: Estimate) -> dict[str, Any]:
    interval = "" if one.low is None else f" [{one.low:.3f}, {one.high:.3f}]"
    return {
        "text": f"{one.value:.3f}{interval}",
        "value": one.value,
        "low": one.low,
        "high": one.high,
    }


def _histogram(one: Distribution) -> dict[str, Any]:
    counts = range(min(one.images), max(one.images) + 1)
    tallest = max(one.images.values())
    bars = [
        {
            "count": count,
            "images": one.images.get(count, 0),
            "x": 6 + place * _BAR_STEP_PX,
            "height": round(_BAR_HEIGHT_PX * one.images.get(count, 0) / tallest),
        }
        for place, count in enumerate(counts)
    ]
    return {
        "method": one.method,
        "mean": f"{statistics.fmean(one.images.keys(), one.images.values()):.1f}",
        "images": sum(one.images.values()),
        "bars": bars,
        "width": 12 + len(bars) * _BAR_STEP_PX,
    }
