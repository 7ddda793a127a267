"""What ``xaiserve explain`` says: notes and a bar on stderr, results on stdout."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from tqdm import tqdm

from xaiserve.cli.explaining import Result, Wish, results
from xaiserve.cli.fanning import engine_for, loader
from xaiserve.cli.files import Files
from xaiserve.cli.main import FAILED, MISUSE, MISUSES
from xaiserve.contrast_use import check_contrast_use
from xaiserve.errors import NoExplanationError
from xaiserve.explainers.base import Explainer
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, Progress
from xaiserve.report.document import explanation_document, failure_document, none_document
from xaiserve.report.overlays import TRIVIAL
from xaiserve.report.page import number
from xaiserve.report.shares import share_of
from xaiserve.report.subject import Document, Subject


def run(wish: Wish, *, as_json: bool) -> int:
    """Explain what ``wish`` names and return the exit code."""
    explainer = make_explainer(wish.method, wish.options)
    check_contrast_use([explainer], wish.contrasts)
    model = loader(wish)()
    for note in model.notes:
        click.echo(f"{model.name}: {note}", err=True)
    files = Files(wish.out, wish.frame) if wish.out else None
    told = _Told(as_json=as_json)
    # On a terminal only: elsewhere a bar is noise in a log.
    bar = tqdm(total=len(wish.photos), unit="image", disable=not sys.stderr.isatty())
    with engine_for(wish, explainer, model) as engine, bar:
        for result in results(wish, explainer, engine, _shows_phase(bar)):
            document = _document(result, wish, model, explainer)
            bar.clear()
            told.result(result, document)
            if files is not None:
                files.add(result, document)
            bar.update()
    told.end()
    if files is not None:
        click.echo(f"wrote {files.close()}", err=True)
    return _exit_code(told.errors, len(wish.photos))


def _document(result: Result, wish: Wish, model: Classifier, explainer: Explainer) -> Document:
    if result.error is not None and not isinstance(result.error, NoExplanationError):
        return failure_document(result.path.name, result.error)
    # The method has run, so that the photo was read and scored.
    assert result.case is not None and result.scores is not None  # noqa: S101, PT018
    subject = Subject(
        classifier=model,
        explainer=explainer,
        seed=wish.seed,
        case=result.case,
        scores=result.scores,
        frame_name=wish.frame,
    )
    if result.explanation is None:
        return none_document(subject, str(result.error), result.cost)
    return explanation_document(subject, result.explanation, result.cost)


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
        for note in document.get("notes", ()):
            click.echo(f"{result.path}: {note}", err=True)
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
    parts = [f"{target['label']} (class {target['index']}) {number(document['confidence'])}"]
    parts.append(_found(document))
    parts.append(f"{cost['model_inputs']} model inputs, {cost['wall_seconds']:.1f} s")
    if document["stopped"]:
        parts.append(f"stopped early: max_{document['stopped']} was reached")
    return "; ".join(parts)


def _found(document: Document) -> str:
    if document["details"].get("trivial"):
        return TRIVIAL
    if "headline" in document["details"]:
        return str(document["details"]["headline"])
    areas = [one["area_fraction"] for one in document["explanations"] if one["selected"]]
    if areas:
        sizes = ", ".join(map(share_of, areas))
        return f"{len(areas)} explanation{'s' * (len(areas) > 1)}, {sizes} of the picture"
    saliency = document["saliency"]
    if saliency["minimum"] == saliency["maximum"]:
        return "no pixel stands out"
    return f"peak at row {saliency['peak']['row']}, column {saliency['peak']['column']}"


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
