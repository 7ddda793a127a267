"""The Open Inference Protocol from the asking side: bodies, no connections.

With binary tensors a body is JSON of a stated length and then the bytes of the tensors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaiserve.errors import ClassifierFaultError, InvalidInputError
from xaiserve.models.spec import ModelSpec
from xaiserve.types import Images

JSON_LENGTH: Final = "inference-header-content-length"
PLATFORM: Final = "xaiserve"

_FP32: Final = np.dtype("<f4")
_PICTURE_AXES: Final = 4

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How one model's tensors go over the wire.

    Parameters
    ----------
    input_name, output_name
        Of the tensors.
    channels_last
        Whether pictures go as (n, h, w, c).
    fixed_rows
        The only batch size the model takes; none when it is free.
    binary
        Whether the server takes and gives binary tensors.
    parameters
        Of every request.
    """

    input_name: str
    output_name: str
    channels_last: bool = False
    fixed_rows: int | None = None
    binary: bool = False
    parameters: Mapping[str, Any]  # Any: JSON

    def request(self, inputs: Images) -> tuple[bytes, dict[str, str]]:
        """Write the body and the headers that ask for the scores of ``inputs`` (n, c, h, w)."""
        values = inputs.permute(0, 2, 3, 1) if self.channels_last else inputs
        raw = values.contiguous().numpy().astype(_FP32, copy=False)
        tensor: Json = {"name": self.input_name, "datatype": "FP32", "shape": list(raw.shape)}
        output = {"name": self.output_name, "parameters": {"binary_data": self.binary}}
        body: Json = {"inputs": [tensor], "outputs": [output]}
        if self.parameters:
            body["parameters"] = dict(self.parameters)
        if not self.binary:
            tensor["data"] = raw.ravel().tolist()
            return json.dumps(body).encode(), {"content-type": "application/json"}
        tensor["parameters"] = {"binary_data_size": raw.nbytes}
        head = json.dumps(body).encode()
        headers = {"content-type": "application/octet-stream", JSON_LENGTH: str(len(head))}
        return head + raw.tobytes(), headers

    def outputs(self, body: bytes, json_length: str | None, rows: int) -> tuple[Tensor, str]:
        """Read raw outputs (n, k), and the version of the model that gave them.

        Raises
        ------
        ClassifierFaultError
            The answer is not of the protocol, or has another number of rows.
        """
        try:
            length = len(body) if json_length is None else int(json_length)
            answer = json.loads(body[:length])
            (told,) = (one for one in answer["outputs"] if one["name"] == self.output_name)
            values = _values(told, answer["outputs"], body[length:]).reshape(told["shape"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ClassifierFaultError(
                f"the server's answer holds no tensor {self.output_name!r} of numbers as the Open "
                f"Inference Protocol has it: {type(error).__name__}: {error}"
            ) from error
        if values.ndim != 2 or len(values) != rows:  # noqa: PLR2004 -- axes
            raise ClassifierFaultError(
                f"the server answered {values.shape} to {rows} pictures, expected ({rows}, k)"
            )
        return torch.from_numpy(values.astype(np.float32)), str(answer.get("model_version", ""))


def _values(told: Json, outputs: Sequence[Json], binary: bytes) -> NDArray[np.float32]:
    if told["datatype"] != "FP32":
        raise ValueError(f"datatype must be FP32, got {told['datatype']}")
    if "data" in told:
        return np.asarray(told["data"], dtype=_FP32)
    start = 0
    for one in outputs:
        size = int(one.get("parameters", {}).get("binary_data_size", 0))
        if one is told:
            return np.frombuffer(binary[start : start + size], _FP32)
        start += size
    raise ValueError("no data")


def wire_of(
    metadata: Json, spec: ModelSpec, *, output: str | None, binary: bool, address: str
) -> Wire:
    """Find the picture among the inputs of a model, and the scores among its outputs.

    Raises
    ------
    InvalidInputError
        The metadata do not fit the specification, or there are several outputs and none is named.
    """
    try:
        (picture,) = metadata["inputs"]
        outputs = [str(one["name"]) for one in metadata["outputs"]]
        name, datatype, shape = picture["name"], picture["datatype"], list(picture["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{address} must have one input, a picture") from error
    first, last = (spec.channels, spec.height, spec.width), (spec.height, spec.width, spec.channels)
    fits = [_fits(shape, order) for order in (first, last)]
    if datatype != "FP32" or not any(fits):
        raise InvalidInputError(
            f"{address} must take FP32 of shape (n, {', '.join(map(str, first))}), or the channels "
            f"last, as its specification says, got {datatype} {shape}"
        )
    if output is None and len(outputs) != 1:
        raise InvalidInputError(
            f"{address} has the outputs {', '.join(outputs)}: name one with the option output"
        )
    if output is not None and output not in outputs:
        raise InvalidInputError(
            f"output must be one of {', '.join(outputs)} for {address}, got {output!r}"
        )
    return Wire(
        input_name=str(name),
        output_name=output or outputs[0],
        channels_last=not fits[0],
        fixed_rows=shape[0] if shape[0] > 0 else None,
        binary=binary,
        parameters={},
    )


def _fits(shape: Sequence[int], sizes: Sequence[int]) -> bool:
    return len(shape) == _PICTURE_AXES and all(
        stated in {-1, size} for stated, size in zip(shape[1:], sizes, strict=True)
    )
