"""A classifier in an ONNX file, run by onnxruntime. The file is data: loading runs no code."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
import torch
from torch import Tensor

from xaiserve.errors import ClassifierFaultError, InvalidInputError
from xaiserve.models.spec import ModelSpec
from xaiserve.types import Images

_CPU: Final = torch.device("cpu")
_LOGITS: Final = "logits"
_ERRORS_ONLY: Final = 3

_Node = Any  # onnxruntime has no types


@dataclass(frozen=True, eq=False, kw_only=True)
class OnnxRunner:
    """Runs one onnxruntime session on the CPU.

    Parameters
    ----------
    session
        The session; it may be used from several threads.
    input_name, output_name
        The picture and the raw outputs among the graph's inputs and outputs.
    threads
        Threads for as many callers: one each, no pool. Two batches side by side on two cores go
        through 15 to 20 % faster than one after the other on both (MobileNetV2, SqueezeNet).
    fixed_rows
        The batch size that the graph was exported with; none when it is free.
    """

    session: _Node
    input_name: str
    output_name: str
    threads: int
    fixed_rows: int | None = None

    @property
    def device(self) -> torch.device:
        return _CPU

    @property
    def streams(self) -> int:
        return self.threads

    def outputs(self, inputs: Images) -> Tensor:
        """Compute raw outputs (n, k); a graph of fixed batch size gets zeros for missing rows.

        Raises
        ------
        ClassifierFaultError
            The graph raised.
        """
        width = self.fixed_rows or len(inputs)
        if len(inputs) == width:
            return self._run(inputs, width)
        return torch.cat([self._run(chunk, width) for chunk in torch.split(inputs, width)])

    def _run(self, chunk: Tensor, width: int) -> Tensor:
        rows = len(chunk)
        if rows < width:
            chunk = torch.cat([chunk, chunk.new_zeros(width - rows, *chunk.shape[1:])])
        try:
            found = self.session.run(
                [self.output_name], {self.input_name: chunk.contiguous().numpy()}
            )
        except Exception as error:  # onnxruntime's errors share no narrower base
            raise ClassifierFaultError(f"the ONNX graph raised: {_first_line(error)}") from error
        return torch.from_numpy(found[0])[:rows]


def onnx_runner(model: Path | bytes, spec: ModelSpec, threads: int, what: str) -> OnnxRunner:
    """Open an ONNX model and find its picture input and its outputs.

    Parameters
    ----------
    model
        The file (external data must lie in its folder) or its bytes (which may have none).
    spec
        Input size and number of classes that the graph must fit.
    threads
        How many batches are to be scored at once, on one thread each.
    what
        Name of the model in messages.

    Raises
    ------
    InvalidInputError
        The file is damaged, reaches outside its folder, needs unknown operators, or takes and
        answers something other than (n, c, h, w) float32 to (n, k).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model,
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # onnxruntime's errors share no narrower base
        raise InvalidInputError(
            f"{what} cannot be loaded by onnxruntime: {_first_line(error)}"
        ) from error
    picture = _picture_input(session, spec, what)
    rows = picture.shape[0]
    return OnnxRunner(
        session=session,
        input_name=picture.name,
        output_name=_output_name(session, spec, what),
        threads=threads,
        fixed_rows=rows if isinstance(rows, int) else None,
    )


def _picture_input(session: _Node, spec: ModelSpec, what: str) -> _Node:
    inputs = session.get_inputs()
    expected = (spec.channels, spec.height, spec.width)
    shapes = [f"{node.name} {node.type} {node.shape}" for node in inputs]
    if len(inputs) != 1 or not _fits(inputs[0], expected):
        raise InvalidInputError(
            f"{what} must take one input tensor(float) (n, {', '.join(map(str, expected))}) as its "
            f"specification says, got {'; '.join(shapes)}"
        )
    return inputs[0]


def _fits(node: _Node, expected: tuple[int, ...]) -> bool:
    # A free dimension is a name or none.
    sizes = node.shape[1:]
    return (
        node.type == "tensor(float)"
        and len(sizes) == len(expected)
        and all(
            not isinstance(size, int) or size == e for size, e in zip(sizes, expected, strict=True)
        )
    )


def _output_name(session: _Node, spec: ModelSpec, what: str) -> str:
    outputs = session.get_outputs()
    named = [node for node in outputs if node.name == _LOGITS]
    shaped = [node for node in outputs if _fits(node, (spec.classes,))]
    for candidates in (outputs, named, shaped):
        if len(candidates) == 1:
            return str(candidates[0].name)
    raise InvalidInputError(
        f"{what} must have one output (n, {spec.classes}) or one named {_LOGITS}, got "
        + ", ".join(f"{node.name} {node.shape}" for node in outputs)
    )


def external_files(path: Path) -> tuple[Path, ...]:
    """List the files beside ``path`` that hold its larger tensors, sorted; usually none.

    Raises
    ------
    InvalidInputError
        ``path`` is no ONNX file, or names a file outside its own folder.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's decoding errors depend on its back end
        raise InvalidInputError(f"{path} is no ONNX file: {_first_line(error)}") from error
    if not model.graph.node:
        raise InvalidInputError(f"{path} is no ONNX file: its graph is empty")
    folder = path.resolve().parent
    return tuple(sorted({_beside(folder, name, path) for name in _locations(model)}))


def _beside(folder: Path, location: str, path: Path) -> Path:
    found = (folder / location).resolve()
    if not found.is_relative_to(folder) or not found.is_file():
        raise InvalidInputError(
            f"{path} keeps tensors in {location!r}, which must be a file in the model's own folder"
        )
    return found


def _locations(model: _Node) -> Iterator[str]:
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _tensors(message: _Node) -> Iterator[_Node]:
    """Walk every tensor of a model, those of attributes, sub-graphs and functions included."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        parts = [value] if hasattr(value, "ListFields") else value
        for part in parts:
            if isinstance(part, onnx.TensorProto):
                yield part
            elif hasattr(part, "ListFields"):
                yield from _tensors(part)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
