"""The fastest way to run a torch module on its device, equal to eager torch.

On two cores, MobileNetV2 of ``transformers`` scored 32 images/s in eager torch, 70 in channels-last
layout, 61 compiled by ``torch.compile`` (after 70 s of compiling), 79 traced and frozen, and 245
exported to onnxruntime (after 6 s, once: the export is kept). Hence the order: onnxruntime, then
channels-last, then eager as it came; the first that works and agrees with eager on the probe. On a
GPU CUDA graphs take onnxruntime's place.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from xaiserve.errors import ClassifierFaultError, InvalidInputError
from xaiserve.models.cuda_graphs import GraphRunner, cuda_recorder
from xaiserve.models.export_cache import ExportCache
from xaiserve.models.loaded import OUTPUT_TOLERANCE, Runner, check_outputs, difference, probe
from xaiserve.models.onnx_classifier import onnx_runner
from xaiserve.models.precision import DTYPES, Precision, agreement
from xaiserve.models.spec import ModelSpec
from xaiserve.models.torch_classifier import Network, TorchRunner

_RECIPE: Final = "1"
"""Changes with the way modules are exported, so that older cached exports are not used."""

_Way = tuple[str, Callable[[], Runner]]

_EXPORTER_LOGGERS: Final = ("torch.onnx", "torch.onnx._internal.exporter._registration")


@dataclass(frozen=True, eq=False, kw_only=True)
class FastPath:
    """The choice of how to run one network.

    Parameters
    ----------
    network
        On ``device``, in inference state. A module's weights may change their memory layout.
    spec
        What goes in and comes out.
    what, digest
        The model's name in messages, and what its export is kept under.
    device
        Where it runs; only the CPU has the detour through onnxruntime.
    threads
        Of onnxruntime's pool.
    cache
        Where exports are kept.
    """

    network: Network
    spec: ModelSpec
    what: str
    digest: str
    device: torch.device
    threads: int
    cache: ExportCache

    def choose(self) -> tuple[Runner, tuple[str, ...]]:
        """Choose a runner whose outputs on the probe are within `OUTPUT_TOLERANCE` of eager torch.

        Returns
        -------
        tuple[Runner, tuple[str, ...]]
            The runner, and notes that say what was chosen and why not others.

        Raises
        ------
        InvalidInputError
            The network does not fit its specification, or cannot score a picture at all.
        """
        inputs = self.spec.normalise(probe(self.spec)).to(self.device)
        eager = TorchRunner(network=self.network, device=self.device)
        try:
            expected = eager.outputs(inputs)
        except ClassifierFaultError as error:
            raise InvalidInputError(f"{self.what} cannot score a picture: {error}") from error
        check_outputs(self.spec, expected, self.what)
        if not isinstance(self.network, torch.nn.Module):
            return eager, ("runs the factory's callable",)
        notes: list[str] = []
        for words, make in self._ways(self.network, notes):
            runner = _agreeing(words, make, inputs, expected, notes)
            if runner is not None:
                return runner, tuple(notes)
        _lay_out(self.network, torch.contiguous_format)
        return eager, (*notes, "runs in eager torch")

    def reduce(self, exact: Runner, precision: Precision) -> tuple[Runner | None, tuple[str, ...]]:
        """Make a runner of fewer bits beside the chosen one, if the network bears it.

        Parameters
        ----------
        exact
            What `choose` chose.
        precision
            Other than ``fp32``.

        Returns
        -------
        tuple[Runner | None, tuple[str, ...]]
            The runner, none if too many decisions change or it cannot run; and a note of why.
        """
        runner = self._reduced(exact, precision)
        try:
            found = agreement(self.spec, runner, exact)
        except ClassifierFaultError as error:
            return None, (f"not in {precision}: {error}; searches in fp32",)
        if not found.bearable:
            return None, (f"not in {precision}: {found}; searches in fp32",)
        return runner, (f"searches in {precision}, releases in fp32: {found}",)

    def _reduced(self, exact: Runner, precision: Precision) -> Runner:
        if isinstance(exact, GraphRunner):
            eager = replace(exact.runner, dtype=DTYPES[precision])
            return GraphRunner(runner=eager, record=cuda_recorder(eager), sizes=exact.sizes)
        if isinstance(exact, TorchRunner):
            return replace(exact, dtype=DTYPES[precision])
        return TorchRunner(network=self.network, device=self.device, dtype=DTYPES[precision])

    @property
    def _key(self) -> str:
        return f"{self.digest}-{torch.__version__}-{_RECIPE}"

    def _ways(self, module: torch.nn.Module, notes: list[str]) -> Iterator[_Way]:
        if self.device.type == "cpu":
            kept = self.cache.read(self._key)
            if kept is not None:
                yield "onnxruntime (kept export)", lambda: self._opened(kept)
            yield "onnxruntime (exported now)", lambda: self._exported(module, notes)
        if self.device.type == "cuda":
            yield "CUDA graphs", lambda: self._recorded(module)
        yield "channels-last eager torch", lambda: self._channels_last(module)

    def _opened(self, export: bytes) -> Runner:
        return onnx_runner(export, self.spec, self.threads, f"the export of {self.what}")

    def _exported(self, module: torch.nn.Module, notes: list[str]) -> Runner:
        export = export_to_onnx(module, self.spec)
        try:
            self.cache.keep(self._key, export)
        except OSError as error:  # a read-only home: the export serves this process only
            notes.append(f"the export is not kept: {error}")
        return self._opened(export)

    def _recorded(self, module: torch.nn.Module) -> Runner:
        eager = self._channels_last(module)
        return GraphRunner(runner=eager, record=cuda_recorder(eager))

    def _channels_last(self, module: torch.nn.Module) -> TorchRunner:
        layout = torch.channels_last
        _lay_out(module, layout)
        return TorchRunner(network=module, device=self.device, layout=layout)


def _agreeing(
    words: str, make: Callable[[], Runner], inputs: Tensor, expected: Tensor, notes: list[str]
) -> Runner | None:
    try:
        runner = make()
        found = difference(runner.outputs(inputs), expected)
    # A network that cannot be exported may raise anything; the note says what, and eager serves.
    except Exception as error:  # noqa: BLE001
        first = str(error).strip().split("\n", maxsplit=1)[0]
        notes.append(f"not in {words}: {type(error).__name__}: {first}")
        return None
    if found > OUTPUT_TOLERANCE:
        notes.append(f"not in {words}: outputs differ from eager torch by {found:.1e}")
        return None
    notes.append(f"runs in {words}, outputs within {found:.1e} of eager torch")
    return runner


def _lay_out(module: torch.nn.Module, layout: torch.memory_format) -> None:
    module.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub omits this form


def export_to_onnx(module: torch.nn.Module, spec: ModelSpec) -> bytes:
    """Export a module on the CPU to an ONNX file with a free batch size, as bytes."""
    example = spec.normalise(probe(spec))
    with quiet_exporter():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            input_names=["inputs"],
            output_names=["outputs"],
            verbose=False,
        )
    assert program is not None  # noqa: S101 - torch returns a program whenever dynamo is true
    export: bytes = program.model_proto.SerializeToString()
    return export


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporter's advice to its developers off the user's screen."""
    loggers = [logging.getLogger(name) for name in _EXPORTER_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
