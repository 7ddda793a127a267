"""What a model's source holds, for people: ``xaiserve models inspect``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from xaiserve.errors import XaiServeError
from xaiserve.models.choosing import choose_format
from xaiserve.models.factory import call_factory, factory_bytes
from xaiserve.models.loading import default_name
from xaiserve.models.onnx_classifier import external_files, onnx_runner
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
from xaiserve.models.spec_files import read_spec, spec_origin
from xaiserve.models.spec_json import canonical_json, spec_to_json
from xaiserve.models.transformers_classifier import fetch_from_hub

_CPU: Final = torch.device("cpu")

_Report = dict[str, Any]  # JSON


def inspect_model(
    source: str | Path,
    *,
    trust_code: bool = False,
    overrides: Mapping[str, object] | None = None,
) -> dict[str, Any]:  # Any: JSON
    """Say what a source holds and what would be used, without running code that came with it.

    Returns
    -------
    dict[str, Any]
        ``name``, ``folder``, ``formats`` (per format: files with bytes, and whether it can be
        loaded), ``scores_from``, ``gradients_from``, ``spec`` (as ``xaiserve.json``; none when it
        is not stated), ``spec_from``, ``labels`` (their number), ``digest`` and ``warnings``, one
        sentence each.

    Raises
    ------
    NotFoundError, UntrustedModelError, ModelUnavailableError, InvalidInputError
        There is no model, as for `load_classifier`. What is wrong with a model that is there is a
        warning.
    """
    if is_factory(source):
        return _of_factory(str(source), trust_code=trust_code)
    if is_remote(source):
        return _of_remote(str(source), overrides)
    found = find_model(fetch_from_hub(str(source)) if is_hub_id(source) else source)
    warnings: list[str] = []
    spec = _tried(lambda: read_spec(found.folder, overrides), warnings)
    scores_from = _tried(lambda: choose_format(found, _CPU, None), warnings)
    return {
        "name": default_name(source),
        "folder": str(found.folder),
        "formats": {kind: _of_format(found, kind) for kind in found.weights},
        "scores_from": scores_from,
        "gradients_from": next((kind for kind in found.formats if kind != "onnx"), None),
        "spec": None if spec is None else spec_to_json(spec),
        "spec_from": spec_origin(found.folder),
        "labels": 0 if spec is None else spec.classes,
        "digest": _digest(found, scores_from, spec, warnings),
        "warnings": [*warnings, *_warnings(found, spec, trust_code=trust_code)],
    }


def _tried(make: Callable[[], Any], warnings: list[str]) -> Any:
    try:
        return make()
    except XaiServeError as error:
        warnings.append(str(error))
        return None


def _of_format(found: ModelFiles, kind: Format) -> _Report:
    return {
        "files": {path.name: path.stat().st_size for path in found.weights[kind]},
        "loadable": kind in found.formats,
    }


def _digest(
    found: ModelFiles, kind: Format | None, spec: ModelSpec | None, warnings: list[str]
) -> str | None:
    if kind is None or spec is None:
        return None
    made = _tried(lambda: digest_files(found.files(kind), canonical_json(spec)), warnings)
    return None if made is None else str(made)


def _warnings(found: ModelFiles, spec: ModelSpec | None, *, trust_code: bool) -> list[str]:
    warnings: list[str] = []
    if "safetensors" in found.weights and "safetensors" not in found.formats:
        warnings.append(
            f"{found.weights['safetensors'][0].name} is a bare state dict: nothing beside it "
            "names its architecture (config.json or architecture.json)"
        )
    if "pt2" in found.weights and not trust_code:
        warnings.append(
            f"{found.weights['pt2'][0].name} can run code when loaded and needs --trust-code"
        )
    warnings += [f"{path.name} is a pickled checkpoint and is never read" for path in found.pickled]
    if spec is not None:
        warnings += _about_spec(found, spec)
    return warnings


def _about_spec(found: ModelFiles, spec: ModelSpec) -> list[str]:
    warnings: list[str] = []
    if spec.labels == tuple(map(str, range(spec.classes))):
        warnings.append("classes are named by their index: state labels in xaiserve.json")
    if shared := sorted({name for name in spec.labels if spec.labels.count(name) > 1}):
        warnings.append(f"several classes share a name: {', '.join(shared)}")
    if "onnx" in found.weights:
        _tried(lambda: _open_onnx(found.weights["onnx"][0], spec), warnings)
    return warnings


def _open_onnx(path: Path, spec: ModelSpec) -> None:
    external_files(path)  # refuses a file that reaches outside its folder, before it is opened
    onnx_runner(path, spec, 1, str(path))


def _of_factory(source: str, *, trust_code: bool) -> _Report:
    network, spec = call_factory(source, trust_code=trust_code)
    return {
        "name": source,
        "folder": None,
        "formats": {"factory": {"files": {}, "loadable": True}},
        "scores_from": "factory",
        "gradients_from": "factory" if isinstance(network, torch.nn.Module) else None,
        "spec": spec_to_json(spec),
        "spec_from": source,
        "labels": spec.classes,
        "digest": digest_files((), factory_bytes(source, network), canonical_json(spec)),
        "warnings": [],
    }


def _of_remote(source: str, overrides: Mapping[str, object] | None) -> _Report:
    classifier = load_remote(source, overrides=overrides)
    return {
        "name": classifier.name,
        "folder": None,
        "formats": {"server": {"files": {}, "loadable": True}},
        "scores_from": "server",
        "gradients_from": None,
        "spec": spec_to_json(classifier.spec),
        "spec_from": source,
        "labels": classifier.spec.classes,
        "digest": classifier.digest,
        "warnings": list(classifier.notes[1:]),
    }
