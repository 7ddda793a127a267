"""What the service answers, as values; members that are not known yet are left out."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaiserve.client.masks import map_of, mask_of

Json = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Score:
    """One class, and the picture's score for it; none where it is not finite."""

    index: int
    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of a picture: the classes it decides for, and the first of all."""

    model: str
    model_digest: str
    image_id: str
    decided: tuple[Score, ...]
    scores: tuple[Score, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Found:
    """A set of pixels that keeps the label when it alone is shown.

    Parameters
    ----------
    mask
        (h, w), in the frame of the answer.
    confidence
        The target's score with only these pixels shown.
    selected
        In the largest family of sets that overlap little; false while that is not known.
    """

    mask: NDArray[np.bool_]
    area_px: int
    area_fraction: float
    confidence: float | None
    kind: str
    selected: bool
    details: Json


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Saliency:
    """The map: its range, its peak (row, column), and its values (h, w) if they were asked for."""

    minimum: float | None
    maximum: float | None
    peak: tuple[int, int]
    values: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Explanation:
    """An explanation.

    Parameters
    ----------
    outcome
        ``explained``, or ``none``: the method has no answer for this picture, ``reason`` says why.
    complete, stopped
        False when a spent budget ended the search early, and which.
    cached
        An equal request was answered before: this one cost nothing.
    explanations, selected
        Sets of pixels, and the indices of those that overlap little.
    overlays
        PNG files by kind: ``overlay``, and ``contrast`` where there is one.
    body
        The whole answer, as the service's documentation has it.
    """

    outcome: str
    reason: str | None
    complete: bool
    stopped: str | None
    cached: bool
    model: str
    model_digest: str
    method: str
    version: int
    parameters: Json
    seed: int
    target: Score
    image_id: str
    confidence: float | None
    scores: tuple[Score, ...]
    explanations: tuple[Found, ...]
    selected: tuple[int, ...]
    saliency: Saliency | None
    overlays: Mapping[str, bytes]
    model_inputs: int
    notes: tuple[str, ...]
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an explanation has come; numbers are none where nobody can know."""

    phase: str | None
    done: int | None
    total: int | None
    explanations: int
    model_inputs: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """One part of a result while the method goes on; the whole may hold fewer, or smaller ones."""

    index: int
    found: Found | None
    details: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A result that is fetched later: by its id, until ``kept_until`` (seconds since 1970)."""

    id: str
    state: str
    model: str
    method: str
    kept_until: float
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the service; ``body`` holds all that it says."""

    name: str
    digest: str
    height: int
    width: int
    channels: int
    labels: tuple[str, ...]
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method, and the JSON Schema of its parameters."""

    name: str
    version: int
    about: str
    needs_gradients: bool
    needs_contrast: bool
    presets: Json
    parameters: Json


def score_of(body: Json) -> Score:
    """Read a `Score` from its body."""
    return Score(body["index"], body["label"], body.get("score"))


def prediction_of(body: Json) -> Prediction:
    """Read a `Prediction` from its body."""
    return Prediction(
        model=body["model"],
        model_digest=body["model_digest"],
        image_id=body["image_id"],
        decided=tuple(map(score_of, body["decided"])),
        scores=tuple(map(score_of, body["scores"])),
        notes=tuple(body.get("notes", ())),
    )


def found_of(body: Json) -> Found:
    """Read a `Found` from its body."""
    return Found(
        mask=mask_of(body["mask"]),
        area_px=body["area_px"],
        area_fraction=body["area_fraction"],
        confidence=body["confidence"],
        kind=body["kind"],
        selected=body.get("selected", False),
        details=body.get("details", {}),
    )


def _saliency_of(body: Json) -> Saliency:
    return Saliency(
        minimum=body["minimum"],
        maximum=body["maximum"],
        peak=(body["peak"]["row"], body["peak"]["column"]),
        values=map_of(body),
    )


def explanation_of(body: Json) -> Explanation:
    """Read a `Explanation` from its body."""
    return Explanation(
        outcome=body["outcome"],
        reason=body.get("reason"),
        complete=body["complete"],
        stopped=body.get("stopped"),
        cached=body.get("cached", False),
        model=body["model"],
        model_digest=body["model_digest"],
        method=body["method"],
        version=body["version"],
        parameters=body["parameters"],
        seed=body["seed"],
        target=score_of(body["target"]),
        image_id=body["image_id"],
        confidence=body["confidence"],
        scores=tuple(map(score_of, body["scores"])),
        explanations=tuple(map(found_of, body.get("explanations", ()))),
        selected=tuple(body.get("selected", ())),
        saliency=None if body.get("saliency") is None else _saliency_of(body["saliency"]),
        overlays={
            each["kind"]: base64.b64decode(each["data"]) for each in body.get("overlays", ())
        },
        model_inputs=body["cost"]["model_inputs"],
        notes=tuple(body.get("notes", ())),
        body=body,
    )


def progress_of(body: Json) -> Progress:
    """Read a `Progress` from its body."""
    return Progress(
        phase=body["phase"],
        done=body["done"],
        total=body["total"],
        explanations=body["explanations"],
        model_inputs=body["model_inputs"],
        seconds=body["seconds"],
    )


def part_of(body: Json) -> Part:
    """Read a `Part` from its body."""
    found = body.get("explanation")
    return Part(
        index=body["index"],
        found=None if found is None else found_of(found),
        details=body.get("details", {}),
    )


def pending_of(body: Json) -> Pending:
    """Read a `Pending` from its body."""
    progress = body.get("progress")
    return Pending(
        id=body["id"],
        state=body["state"],
        model=body["model"],
        method=body["method"],
        kept_until=body["kept_until"],
        progress=None if progress is None else progress_of(progress),
    )


def model_of(body: Json) -> Model:
    """Read a `Model` from its body."""
    return Model(
        name=body["name"],
        digest=body["digest"],
        height=body["height"],
        width=body["width"],
        channels=body["channels"],
        labels=tuple(body["labels"]),
        body=body,
    )


def method_of(body: Json) -> Method:
    """Read a `Method` from its body."""
    return Method(
        name=body["name"],
        version=body["version"],
        about=body["about"],
        needs_gradients=body["needs_gradients"],
        needs_contrast=body["needs_contrast"],
        presets=body["presets"],
        parameters=body["parameters"],
    )
