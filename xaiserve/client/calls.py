"""Every question to the service as data: what is sent, and how the answer is read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Required, TypedDict

from xaiserve.backoff import Backoff
from xaiserve.client.exchanging import POLL_S, Call, Files, Flow, Params, Wait, exchange, path_of
from xaiserve.client.pictures import Picture, file_of
from xaiserve.client.results import (
    Explanation,
    Method,
    Model,
    Pending,
    Prediction,
    explanation_of,
    method_of,
    model_of,
    pending_of,
    prediction_of,
)
from xaiserve.errors import InvalidInputError

_ACCEPTED: Final = 202


def answered(call: Call[Explanation | Pending], patience_s: float) -> Flow[Explanation]:
    """Carry out a call for an explanation; where it is put off, ask until it is there."""
    found = yield from exchange(call, Backoff(patience_s))
    while isinstance(found, Pending):
        yield Wait(POLL_S)
        found = yield from exchange(result_call(found.id), Backoff(patience_s))
    return found


def models_call() -> Call[tuple[str, ...]]:
    """List the models."""
    return Call(verb="GET", path="/v1/models", read=lambda _, body: tuple(body["models"]))


def model_call(name: str) -> Call[Model]:
    """Describe a model."""
    return Call(verb="GET", path=path_of("models", name), read=lambda _, body: model_of(body))


def methods_call() -> Call[tuple[Method, ...]]:
    """List the methods."""
    return Call(
        verb="GET",
        path="/v1/methods",
        read=lambda _, body: tuple(map(method_of, body["methods"])),
    )


def predict_call(picture: Picture, model: str, top: int) -> Call[Prediction]:
    """Score a picture."""
    return Call(
        verb="POST",
        path="/v1/predict",
        params={"model": model, "top": str(top)},
        files={"image": file_of(picture)},
        read=lambda _, body: prediction_of(body),
    )


class Wish(TypedDict, total=False):
    """What is asked of an explanation; what is left out is left to the service.

    ``model`` and ``method`` go by name. ``target`` is a class index or label, else the class ranked
    first. ``max_inputs`` and ``max_seconds`` are what the method may spend. ``frame`` says whose
    pixels masks and map refer to, ``model`` or ``original``. ``overlay`` and ``saliency`` ask for
    pictures of the result and the whole map. ``contrast`` is a second picture, or ``blur`` or
    ``inpaint``, for methods that compare with one. ``options`` are parameters of the method.
    """

    model: Required[str]
    method: Required[str]
    target: int | str
    seed: int
    max_inputs: int
    max_seconds: float
    frame: str
    overlay: bool
    saliency: bool
    contrast: Picture
    options: Mapping[str, object]


_OFFERED: Final = frozenset({"blur", "inpaint"})


def _params(wish: Wish) -> Params:
    named = {key: value for key, value in wish.items() if key not in {"options", "contrast"}}
    named = {"overlay": False, **named}
    options = wish.get("options", {})
    if twice := sorted({*named, "contrast"} & options.keys()):
        raise InvalidInputError(f"options must not hold {twice[0]}: it is an argument of its own")
    found = {**named, **options}
    if _is_offered(wish.get("contrast")):
        found["contrast"] = wish["contrast"]
    return {key: _text(value) for key, value in found.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _files(picture: Picture, wish: Wish) -> Files:
    files = {"image": file_of(picture)}
    if "contrast" in wish and not _is_offered(wish["contrast"]):
        files["contrast"] = file_of(wish["contrast"])
    return files


def _is_offered(contrast: object) -> bool:
    return isinstance(contrast, str) and contrast in _OFFERED


def explain_call(picture: Picture, wish: Wish) -> Call[Explanation | Pending]:
    """Ask for an explanation; the service may put it off where the budget is large."""
    return Call(
        verb="POST",
        path="/v1/explain",
        params=_params(wish),
        files=_files(picture, wish),
        read=_explanation_or_pending,
    )


def stream_call(picture: Picture, wish: Wish) -> Call[None]:
    """Ask for events; what comes of them is read by `events`."""
    call = explain_call(picture, wish)
    return Call(
        verb=call.verb,
        path=call.path,
        params={**call.params, "stream": "true"},
        files=call.files,
        headers={"accept": "text/event-stream"},
        read=lambda *_: None,
    )


def submit_call(picture: Picture, wish: Wish) -> Call[Explanation | Pending]:
    """Ask for an explanation that is fetched later."""
    call = explain_call(picture, wish)
    return replace(call, params={**call.params, "async": "true"})


def result_call(name: str) -> Call[Explanation | Pending]:
    """Fetch a result."""
    return Call(verb="GET", path=path_of("results", name), read=_explanation_or_pending)


def results_call(limit: int) -> Call[tuple[Pending, ...]]:
    """List results."""
    return Call(
        verb="GET",
        path="/v1/results",
        params={"limit": str(limit)},
        read=lambda _, body: tuple(map(pending_of, body["results"])),
    )


def forget_call(name: str) -> Call[None]:
    """Cancel or remove a result."""
    path = path_of("results", name)
    return Call(verb="DELETE", path=path, is_removal=True, read=lambda *_: None)


def _explanation_or_pending(status: int, body: Any) -> Explanation | Pending:  # Any: JSON
    return pending_of(body) if status == _ACCEPTED else explanation_of(body)
