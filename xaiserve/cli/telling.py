"""What ``xaiserve explain`` says: notes and a bar on stderr, results on stdout."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from tqdm import tqdm

from xaiserve.cli.explaining import Result, Wish, results
from xaiserve.cli.files import Files
from xaiserve.cli.main import FAILED, MISUSE, MISUSES
from xaiserve.cli.options import named_source
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.loading import load_classifier
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Event, Progress
from xaiserve.report.document import (
    Document,
    Provenance,
    explanation_document,
    failure_document,
)
from xaiserve.report.overlays import TRIVIAL


def run(wish: Wish, *, as_json: bool) -> int:
    """Explain what ``wish`` names and return the exit code."""
    explainer = make_explainer(wish.method, wish.options)
    name, source = named_source(wish.source)
    model = load_classifier(
        source,
        name=name,
        device=wish.device,
        file_format=wish.file_format,
        trust_code=wish.trust_code,
    )
    for note in model.notes:
        click.echo(f"{model.name}: {note}", err=True)
    provenance = Provenance.of(model, explainer, wish.seed)
    files = Files(wish.out, wish.frame) if wish.out else None
    told = _Told(as_json=as_json)
    # On a terminal only: elsewhere a bar is noise in a log.
    bar = tqdm(total=len(wish.photos), unit="image", disable=not sys.stderr.isatty())
    with Engine(model) as engine, bar:
        for result in results(wish, explainer, engine, _shows_phase(bar)):
            document = _document(result, provenance, model.spec)
            bar.clear()
            told.result(result, document)
            if files is not None:
                files.add(result, document)
            bar.update()
    told.end()
    if files is not None:
        click.echo(f"wrote {files.close()}", err=True)
    return _exit_code(told.errors, len(wish.photos))


def _document(result: Result, provenance: Provenance, spec: ModelSpec) -> Document:
    if result.case is None or result.explanation is None:
        return failure_document(str(result.path), result.error or RuntimeError("no explanation"))
    return explanation_document(
        result.case, result.explanation, spec, result.cost, provenance, scores=result.scores
    )


class _Told:
    """Print results as they come: a JSON array, or a line each; errors always on stderr too."""

    def __init__(self, *, as_json: bool) -> None:
        self.errors: list[Exception] = []
        self._as_json = as_json
        self._before = "["

    def result(self, result: Result, document: Document) -> None:
        if result.error is not None:
            self.errors.append(result.error)
            click.echo(f"{result.path}: {result.error}", err=True)
        if self._as_json:
            click.echo(self._before + json.dumps(document, allow_nan=False))
            self._before = ","
        elif result.error is None:
            click.echo(f"{result.path}: {_line(document)}")

    def end(self) -> None:
        """Close the array."""
        if self._as_json:
            click.echo("]" if self._before == "," else "[]")


def _line(document: Document) -> str:
    target, cost = document["target"], document["cost"]
    parts = [f"{target['label']} (class {target['index']}) {target['score']:.3f}"]
    parts.append(_found(document))
    parts.append(f"{cost['model_inputs']} model inputs, {cost['wall_seconds']:.1f} s")
    if cost["stopped"]:
        parts.append(f"stopped early: max_{cost['stopped']} was reached")
    return "; ".join(parts)


def _found(document: Document) -> str:
    if "explanations" not in document:
        peak = document["saliency"]["peak"]
        return f"peak at row {peak['row']}, column {peak['column']}"
    if document["details"]["trivial"]:
        return TRIVIAL
    areas = [document["explanations"][index]["area_fraction"] for index in document["selected"]]
    if not areas:
        return "no explanation found"
    sizes = ", ".join(f"{area:.1%}" for area in areas)
    return f"{len(areas)} explanation{'s' * (len(areas) > 1)}, {sizes} of the picture"


def _shows_phase(bar: Any) -> Callable[[Case, Event], None]:  # Any: tqdm has no types
    def show(_: Case, event: Event) -> None:
        if isinstance(event, Progress):
            total = "" if event.total is None else f"/{event.total}"
            bar.set_postfix_str(f"{event.phase} {event.done}{total}")

    return show


def _exit_code(errors: Sequence[Exception], photos: int) -> int:
    """Say misuse when every photo was refused for what it is: there was nothing to explain."""
    if not errors:
        return 0
    refused = len(errors) == photos and all(isinstance(error, MISUSES) for error in errors)
    return MISUSE if refused else FAILED
