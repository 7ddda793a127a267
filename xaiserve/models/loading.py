"""`load_classifier`: from what a user names to a classifier that scores.

Of several formats in one folder, scores come from ONNX, else safetensors, else .pt2; gradients come
from safetensors, else .pt2. The notes of the classifier say what was chosen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from xaiserve.errors import InvalidInputError
from xaiserve.models.choosing import choose_format
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.models.export_cache import ExportCache, default_cache_folder
from xaiserve.models.exported_classifier import load_exported
from xaiserve.models.factory import call_factory, factory_bytes
from xaiserve.models.fast_path import FastPath
from xaiserve.models.loaded import (
    OUTPUT_TOLERANCE,
    LoadedClassifier,
    Runner,
    check_outputs,
    difference,
    probe,
)
from xaiserve.models.onnx_classifier import onnx_runner
from xaiserve.models.precision import Precision, checked_precision
from xaiserve.models.remote_classifier import load_remote
from xaiserve.models.remote_options import is_remote
from xaiserve.models.sources import (
    Format,
    ModelFiles,
    digest_files,
    find_model,
    is_factory,
    is_hub_id,
)
from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_files import read_spec
from xaiserve.models.spec_json import canonical_json, spec_from_json, spec_to_json
from xaiserve.models.state_dict_classifier import load_state_dict
from xaiserve.models.torch_classifier import Network, TorchGradients, TorchRunner, resolve_device
from xaiserve.models.transformers_classifier import fetch_from_hub, load_transformers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    """What the caller said besides the source, checked."""

    name: str
    device: torch.device
    trust_code: bool
    batch_rows: int | None
    threads: int
    precision: Precision
    overrides: Mapping[str, object]
    cache: ExportCache


def load_classifier(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    name: str | None = None,
    file_format: Format | None = None,
    trust_code: bool = False,
    batch_rows: int | None = None,
    threads: int | None = None,
    precision: Precision = "fp32",
    overrides: Mapping[str, object] | None = None,
    cache_folder: Path | None = None,
) -> LoadedClassifier:
    """Load a classifier.

    Parameters
    ----------
    source
        A folder, a file in one (.onnx, .safetensors, .pt2), a hub id ``owner/name[@revision]``,
        a factory ``package.module:name``, ``embedded``, or the address of a model behind a server
        (`models.remote_options`).
    device
        Where it scores; ONNX files score on the CPU only.
    name
        What people call it; by default the name of the folder, file or factory.
    file_format
        ``onnx``, ``safetensors`` or ``pt2`` when the folder has several.
    trust_code
        Allows sources that run code of their own when loaded: .pt2 and factories.
    batch_rows
        The batch size to use; none measures the fastest on first use.
    threads
        Threads on the CPU; none takes torch's number. Torch has one pool per process, so a number
        given for a model that runs in torch changes it for the process. Several workers on one
        machine want the cores divided among them.
    precision
        What searches are scored in; see `models.precision`. Other than ``fp32`` needs a model that
        runs in torch, and a GPU to pay. Where too many decisions change it stays float32, and a
        note says so.
    overrides
        Keys of ``xaiserve.json`` that replace or complete what the model's files state.
    cache_folder
        Where exports are kept between processes; none takes ``.cache/xaiserve`` in the home.

    Raises
    ------
    NotFoundError
        There is nothing at that path.
    UntrustedModelError
        Loading would run code, and ``trust_code`` is not set; or the file is a pickle.
    ModelUnavailableError
        The hub or the server cannot be reached, or a factory raised.
    InvalidInputError
        A file is damaged, a specification is missing or does not fit, an argument is wrong.
    """
    for word, number in (("batch_rows", batch_rows), ("threads", threads)):
        if number is not None and number < 1:
            raise InvalidInputError(f"{word} must be at least 1, got {number}")
    wishes = _Wishes(
        name=name or default_name(source),
        device=resolve_device(device),
        trust_code=trust_code,
        batch_rows=batch_rows,
        threads=threads or torch.get_num_threads(),
        precision=checked_precision(precision),
        overrides=overrides or {},
        cache=ExportCache(cache_folder or default_cache_folder()),
    )
    if is_remote(source):
        return load_remote(
            str(source),
            name=name,
            batch_rows=batch_rows,
            device=wishes.device,
            precision=wishes.precision,
            overrides=overrides,
        )
    if is_factory(source):
        return _from_factory(str(source), wishes)
    found = find_model(fetch_from_hub(str(source)) if is_hub_id(source) else source)
    kind = choose_format(found, wishes.device, file_format, wishes.precision)
    return _from_files(found, kind, wishes)


def default_name(source: str | Path) -> str:
    """Name a model by its factory, hub id or folder."""
    if is_factory(source) or is_hub_id(source):
        return str(source)
    path = Path(source)
    return path.resolve().name if path.is_dir() else path.stem


def _from_files(found: ModelFiles, kind: Format, wishes: _Wishes) -> LoadedClassifier:
    spec = read_spec(found.folder, wishes.overrides)
    digest = digest_files(found.files(kind), canonical_json(spec))
    path = found.weights[kind][0]
    if kind != "onnx":
        module = load_module(found, kind, wishes.device, trust_code=wishes.trust_code)
        return _from_network(module, spec, digest, str(path), wishes)
    runner = onnx_runner(path, spec, wishes.threads, str(path))
    outputs = runner.outputs(spec.normalise(probe(spec)))
    check_outputs(spec, outputs, str(path))
    return LoadedClassifier(
        name=wishes.name,
        spec=spec,
        digest=digest,
        runner=runner,
        differentiable=partial(_twin, found, spec, runner, trust_code=wishes.trust_code),
        stated_rows=wishes.batch_rows,
        notes=(f"scores from {path.name} in onnxruntime",),
    )


def load_module(
    found: ModelFiles, kind: Format, device: torch.device, *, trust_code: bool
) -> torch.nn.Module:
    """Load the safetensors or the .pt2 of a folder as a module."""
    if kind == "safetensors" and found.has_factory:
        return load_state_dict(found.weights[kind], device, trust_code=trust_code)
    if kind == "safetensors":
        return load_transformers(found.folder, device)
    return load_exported(found.weights[kind][0], device, trust_code=trust_code)


def _from_factory(source: str, wishes: _Wishes) -> LoadedClassifier:
    network, spec = call_factory(source, trust_code=wishes.trust_code)
    if wishes.overrides:
        spec = spec_from_json(
            {**spec_to_json(spec), **wishes.overrides}, f"{source} with overrides"
        )
    if isinstance(network, torch.nn.Module):
        network = network.to(wishes.device)
    digest = digest_files((), factory_bytes(source, network), canonical_json(spec))
    return _from_network(network, spec, digest, source, wishes)


def _from_network(
    network: Network, spec: ModelSpec, digest: str, what: str, wishes: _Wishes
) -> LoadedClassifier:
    path = FastPath(
        network=network,
        spec=spec,
        what=what,
        digest=digest,
        device=wishes.device,
        threads=wishes.threads,
        cache=wishes.cache,
    )
    exact, notes = path.choose()
    reduced: Runner | None = None
    if wishes.precision != "fp32":
        reduced, more = path.reduce(exact, wishes.precision)
        notes += more
    if wishes.device.type == "cpu" and isinstance(reduced or exact, TorchRunner):
        torch.set_num_threads(wishes.threads)
    return LoadedClassifier(
        name=wishes.name,
        spec=spec,
        digest=digest if reduced is None else _digest_in(digest, wishes.precision),
        runner=reduced or exact,
        exact_runner=exact,
        differentiable=partial(_own_gradients, network, spec, wishes.device, what),
        stated_rows=wishes.batch_rows,
        notes=(f"scores from {Path(what).name}", *notes),
    )


def _digest_in(digest: str, precision: Precision) -> str:
    """Tell the model in fewer bits from itself: results are kept by digest."""
    return hashlib.sha256(f"{digest} {precision}".encode()).hexdigest()


def _own_gradients(
    network: Network, spec: ModelSpec, device: torch.device, what: str
) -> DifferentiableClassifier:
    if not isinstance(network, torch.nn.Module):
        raise InvalidInputError(
            f"{what} made a plain callable, which has no gradients: return an nn.Module instead"
        )
    return TorchGradients(spec=spec, device=device, module=network)


def _twin(
    found: ModelFiles, spec: ModelSpec, runner: Runner, *, trust_code: bool
) -> DifferentiableClassifier:
    """Load the same network in a format that has gradients, and check that it is the same."""
    kinds = [kind for kind in found.formats if kind != "onnx"]
    if not kinds:
        raise InvalidInputError(
            f"{found.weights['onnx'][0]} is ONNX, which has no gradients: methods that need them "
            "want safetensors of transformers or a trusted .pt2 in the same folder, or a factory"
        )
    device = torch.device("cpu")
    module = load_module(found, kinds[0], device, trust_code=trust_code)
    inputs = spec.normalise(probe(spec))
    other = TorchRunner(network=module, device=device).outputs(inputs)
    apart = difference(other, runner.outputs(inputs))
    if apart > OUTPUT_TOLERANCE:
        raise InvalidInputError(
            f"{found.folder}: the ONNX file and the {kinds[0]} are different networks, their "
            f"outputs differ by {apart:.1e} (allowed {OUTPUT_TOLERANCE:.0e}); ONNX has no "
            f"gradients, so load the {kinds[0]} by its format"
        )
    return TorchGradients(spec=spec, device=device, module=module)
