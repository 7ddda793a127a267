"""Answers to infer requests: which outputs were wished, in which form, and the body they make."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Response
from fastapi.responses import JSONResponse

from xaiserve.errors import InvalidInputError
from xaiserve.serve.protocols.oip_bodies import InferRequestBody, WishBody
from xaiserve.serve.protocols.tensors import JSON_LENGTH, OUTPUT, packed, ranked
from xaiserve.types import Scores

_BINARY_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One output: all scores, or the first ``classes`` of them with their labels."""

    classes: int | None
    binary: bool


def wishes_of(body: InferRequestBody) -> list[Wish]:
    """Read what outputs are asked for; ``scores`` when none is named.

    Raises
    ------
    InvalidInputError
        An output or the value of a parameter is unknown.
    """
    binary = body.parameters.get("binary_data_output", False)
    return [_wish(sent, binary) for sent in body.outputs or [WishBody(name=OUTPUT)]]


def _wish(sent: WishBody, binary: object) -> Wish:
    if sent.name != OUTPUT:
        raise InvalidInputError(f"outputs must be named {OUTPUT!r}, got {sent.name!r:.80}")
    binary = sent.parameters.get("binary_data", binary)
    if not isinstance(binary, bool):
        raise InvalidInputError(f"parameter binary_data must be true or false, got {binary!r:.80}")
    classes = sent.parameters.get("classification")
    if classes is not None and (type(classes) is not int or classes < 1):
        raise InvalidInputError(
            f"parameter classification must be an integer of at least 1, got {classes!r:.80}"
        )
    return Wish(classes=classes, binary=binary)


def answer_of(
    scores: Scores,
    wishes: Sequence[Wish],
    labels: Sequence[str],
    about: Mapping[str, str],
) -> Response:
    """Make the response; ``about`` holds the members besides the outputs."""
    outputs, binary = [], b""
    for wish in wishes:
        output, raw = _output(scores, wish, labels)
        outputs.append(output)
        binary += raw
    body = {**about, "outputs": outputs}
    if not any(wish.binary for wish in wishes):
        return JSONResponse(body)
    head = json.dumps(body, allow_nan=False).encode()
    return Response(head + binary, headers={JSON_LENGTH: str(len(head))}, media_type=_BINARY_TYPE)


def _output(
    scores: Scores, wish: Wish, labels: Sequence[str]
) -> tuple[dict[str, Any], bytes]:  # Any: JSON
    if wish.classes is None:
        about = {"name": OUTPUT, "datatype": "FP32", "shape": list(scores.shape)}
        if not wish.binary:
            return about | {"data": scores.flatten().tolist()}, b""
        raw = scores.numpy().astype("<f4").tobytes()
    else:
        texts = ranked(scores, labels, wish.classes)
        about = {"name": OUTPUT, "datatype": "BYTES"}
        about |= {"shape": [len(scores), len(texts) // len(scores)]}
        if not wish.binary:
            return about | {"data": texts}, b""
        raw = packed(texts)
    return about | {"parameters": {"binary_data_size": len(raw)}}, raw
