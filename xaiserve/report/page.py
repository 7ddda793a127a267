"""`explain_page`: the results of one run over a few images as one HTML page, complete in itself."""

import base64
import importlib.metadata
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image as PillowImage

from xaiserve.report.colours import outline_colour
from xaiserve.report.overlays import TRIVIAL
from xaiserve.report.panels import Panel
from xaiserve.report.presenting import Chapter, presenter_named
from xaiserve.report.shares import share_of
from xaiserve.report.subject import Document

_QUALITY: Final = 88
_STOPPED: Final = {
    "inputs": "The budget of model inputs was spent: this is what had been found.",
    "seconds": "The time was over: this is what had been found.",
    "cancelled": "It was cancelled: this is what had been found.",
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shown:
    """One explained image on a page.

    Parameters
    ----------
    document
        What `xaiserve.report.document.explanation_document` says.
    original, overlay
        Encoded pictures; see `embeddable`.
    figures
        The method's own panels, shown instead of these two where it has a chapter of its own; see
        `xaiserve.report.presenting`.
    """

    document: Document
    original: bytes
    overlay: bytes
    figures: tuple["Figure", ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Figure:
    """An encoded picture with its words."""

    title: str
    caption: str
    picture: bytes


def figures(panels: Sequence[Panel], max_side_px: int) -> tuple[Figure, ...]:
    """Encode a method's own panels."""
    return tuple(
        Figure(
            title=panel.title,
            caption=panel.caption,
            picture=embeddable(panel.scaled(), max_side_px),
        )
        for panel in panels
    )


def embeddable(picture: PillowImage.Image, max_side_px: int) -> bytes:
    """Encode an RGB picture as JPEG, scaled down where a side is longer than ``max_side_px``."""
    smaller = picture.copy()
    smaller.thumbnail((max_side_px, max_side_px))
    buffer = io.BytesIO()
    smaller.save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def counted(number: int, noun: str) -> str:
    """Write a number of things that have a regular plural."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def explain_page(
    shown: Sequence[Shown], failures: Sequence[Document] = (), *, left_out: int = 0
) -> str:
    """Lay out explanations of one model by one method, and what failed.

    Parameters
    ----------
    failures
        What `xaiserve.report.document.failure_document` or `none_document` says.
    left_out
        Explained images that the page only counts.
    """
    documents = [one.document for one in shown]
    first = documents[0] if documents else None
    explained = len(shown) + left_out
    items = [_item(one) for one in shown]
    return (
        environment()
        .get_template("explain.html")
        .render(
            title=f"Explanations by {first['method']}" if first else "Explanations",
            subtitle=f"{counted(explained, 'image')} explained, {len(failures)} not",
            method=first["method"] if first else "",
            setting=_setting(first) if first else (),
            parameters=_parameters(first) if first else (),
            with_sets=any(document["explanations"] for document in documents),
            columns=[name for name, _ in items[0]["own"]] if items else (),
            items=items,
            failures=[_failure(one) for one in failures],
            left_out=left_out,
        )
    )


@cache
def environment() -> Environment:
    """Return the templates: everything is escaped, and a missing name is an error."""
    made = Environment(
        loader=PackageLoader("xaiserve.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["version"] = importlib.metadata.version("xaiserve")
    made.filters["uri"] = data_uri
    return made


def data_uri(picture: bytes) -> str:
    """Put an encoded PNG or JPEG into a URI."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def _setting(document: Document) -> list[tuple[str, str]]:
    frame = document["frame"]
    size = f"{frame['width']} x {frame['height']} px"
    return [
        ("method", f"{document['method']}, version {document['version']}"),
        ("model", document["model"]),
        ("model digest", document["model_digest"][:16]),
        (
            "areas and peaks in",
            f"the model's input, {size}" if frame["name"] == "model" else "the original picture",
        ),
        ("seed", str(document["seed"])),
    ]


def _parameters(document: Document) -> list[tuple[str, str]]:
    given: dict[str, object] = document["parameters"]
    return [(name, "none" if value is None else str(value)) for name, value in given.items()]


def _item(one: Shown) -> dict[str, Any]:  # Any: what the template reads
    document = one.document
    target, cost = document["target"], document["cost"]
    areas = [found["area_fraction"] for found in document["explanations"]]
    presenter = presenter_named(document["method"])
    chapter = None if presenter is None else presenter.chapter(document["details"])
    return {
        "name": document["name"] or document["image_id"][:12],
        "notes": document["notes"],
        "target": f"{target['label']} (class {target['index']})",
        "score": number(document["confidence"]),
        "facts": _facts(document, chapter),
        "chapter": chapter,
        "own": chapter.facts if chapter else (),
        "figures": one.figures,
        "remark": _remark(document),
        "sets": _sets(document),
        "chosen": len(document["selected"]),
        "smallest": share_of(min(areas)) if areas else "-",
        "model_inputs": cost["model_inputs"],
        "seconds": f"{cost['wall_seconds']:.1f}",
        "original": data_uri(one.original),
        "overlay": data_uri(one.overlay),
    }


def _failure(document: Document) -> dict[str, str]:
    reason = document["error"]["message"] if "error" in document else document["reason"]
    return {"name": document["name"], "reason": reason}


def _remark(document: Document) -> str:
    """Say what a reader of the numbers must know first."""
    if document["stopped"]:
        return _STOPPED[document["stopped"]]
    return f"Note that {TRIVIAL}." if document["details"].get("trivial") else ""


def _facts(document: Document, chapter: Chapter | None) -> list[tuple[str, str]]:
    target, cost = document["target"], document["cost"]
    return [
        ("target", f"{target['label']} (class {target['index']})"),
        ("score of the target", number(document["confidence"])),
        *[
            (f"class {row['index']}", f"{row['label']} {number(row['score'])}")
            for row in document["scores"][:3]
            if row["index"] != target["index"]
        ],
        *(_about_map(document["saliency"]) if chapter is None else chapter.facts),
        ("model inputs", str(cost["model_inputs"])),
        ("seconds", f"{cost['wall_seconds']:.1f}"),
    ]


def _about_map(saliency: Document) -> list[tuple[str, str]]:
    peak = saliency["peak"]
    bounds = f"{_short(saliency['minimum'])} to {_short(saliency['maximum'])}"
    return [
        ("map, lowest and highest", bounds),
        ("map, peak at row, column", f"{peak['row']}, {peak['column']} px"),
    ]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _sets(document: Document) -> list[dict[str, Any]]:
    """List the sets in the order of the overlay's numbers, then those that were not selected."""
    found: list[Document] = document["explanations"]
    chosen: list[int] = document["selected"]
    others = [index for index in range(len(found)) if index not in chosen]
    rows = [
        _set(found[index]) | {"number": place + 1, "colour": f"rgb{outline_colour(place)}"}
        for place, index in enumerate(chosen)
    ]
    return rows + [_set(found[index]) | {"number": None} for index in others]


def _set(found: Document) -> dict[str, Any]:
    return {
        "kind": found["kind"],
        "area": share_of(found["area_fraction"]),
        "pixels": found["area_px"],
        "confidence": number(found["confidence"]),
        "margin": number(found["details"]["margin"]),
    }
