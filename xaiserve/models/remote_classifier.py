"""A classifier behind another server, asked over the Open Inference Protocol.

The server may be anybody's. One of ours states what its model is, and takes pictures in image
units; of others the specification must be given, and they take what it makes of a picture.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
from torch import Tensor

from xaiserve.errors import ClassifierFaultError, InvalidInputError
from xaiserve.models.loaded import LoadedClassifier, check_outputs, probe
from xaiserve.models.precision import Precision
from xaiserve.models.remote_connection import Connection, Pace
from xaiserve.models.remote_options import RemoteOptions, read_address
from xaiserve.models.remote_protocol import JSON_LENGTH, PLATFORM, Json, Wire, wire_of
from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_files import read_json
from xaiserve.models.spec_json import canonical_json, spec_from_json
from xaiserve.types import Images

BINARY_EXTENSION: Final = "binary_tensor_data"

_CPU: Final = torch.device("cpu")


@dataclass(frozen=True, eq=False, kw_only=True)
class RemoteRunner:
    """Asks the server for raw outputs; a `Runner` of as many streams as requests may be under way.

    Parameters
    ----------
    address
        The model's.
    spec
        Turns inputs back into image units where ``image_units`` are what the server takes.
    """

    address: str
    spec: ModelSpec
    wire: Wire
    connection: Connection
    pace: Pace
    rows: int
    streams: int
    image_units: bool
    versions: "Versions"

    @property
    def device(self) -> torch.device:
        return _CPU

    @property
    def threads(self) -> int:
        return 1

    @property
    def fixed_rows(self) -> int | None:
        return self.wire.fixed_rows

    def outputs(self, inputs: Images) -> Tensor:
        """Compute raw outputs (n, k), as many requests as `rows` wants, one after the other.

        Raises
        ------
        ModelUnavailableError
            The server does not answer within its patience.
        ClassifierFaultError
            It fails, answers something else, or holds another version of the model by now.
        """
        width = self.fixed_rows or self.rows
        return torch.cat([self._asked(chunk, width) for chunk in torch.split(inputs, width)])

    def _asked(self, chunk: Images, width: int) -> Tensor:
        rows = len(chunk)
        if self.fixed_rows and rows < width:
            chunk = torch.cat([chunk, chunk.new_zeros(width - rows, *chunk.shape[1:])])
        if self.image_units:
            chunk = chunk * self.spec.unit + self.spec.neutral
        content, headers = self.wire.request(chunk)
        self.pace.take(rows)
        answer = self.connection.post(f"{self.address}/infer", content, headers)
        length = answer.headers.get(JSON_LENGTH)
        outputs, version = self.wire.outputs(answer.content, length, len(chunk))
        self.versions.check(version)
        return outputs[:rows]


@dataclass(eq=False)
class Versions:
    """Which version of the model answers: the first that did, and no other after it."""

    address: str
    _first: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, version: str) -> None:
        with self._lock:
            if self._first is None:
                self._first = version
            if version != self._first:
                raise ClassifierFaultError(
                    f"{self.address} held version {self._first!r} of the model and holds version "
                    f"{version!r} now: scores of the two must not be mixed"
                )


def load_remote(
    source: str,
    *,
    name: str | None = None,
    batch_rows: int | None = None,
    device: torch.device = _CPU,
    precision: Precision = "fp32",
    overrides: Mapping[str, object] | None = None,
    connection: Connection | None = None,
) -> LoadedClassifier:
    """Open a model behind a server; see `remote_options` for what its address may say.

    Raises
    ------
    ModelUnavailableError
        The server does not answer, or does not hold the model.
    InvalidInputError
        The address is wrong, or the model's specification is not stated or does not fit.
    ClassifierFaultError
        The server fails over three pictures.
    """
    address, options = read_address(source)
    if (device.type, precision) != ("cpu", "fp32"):
        raise InvalidInputError(
            f"{address} scores where and how its server says: device must be cpu and precision "
            f"fp32, got {device} and {precision}"
        )
    link = connection or _connect(address, options)
    metadata = _object(link.get(address).json(), address)
    stated = _stated(metadata)
    own = {**(read_json(options.spec) if options.spec else {}), **(overrides or {})}
    spec = _spec(address, stated, own)
    wire = wire_of(
        metadata, spec, output=options.output, binary=_takes_binary(link, address), address=address
    )
    runner = RemoteRunner(
        address=address,
        # Ours answers with probabilities.
        spec=replace(spec, activation="none") if stated else spec,
        wire=wire,
        connection=link,
        pace=Pace(options.rows_per_second),
        rows=_rows(metadata, batch_rows or options.rows),
        streams=options.in_flight,
        image_units=bool(stated),
        versions=Versions(address),
    )
    alone = replace(runner, wire=replace(wire, parameters={"alone": True})) if stated else None
    check_outputs(runner.spec, runner.outputs(runner.spec.normalise(probe(spec))), address)
    return LoadedClassifier(
        name=name or address.rpartition("/")[2],
        spec=runner.spec,
        digest=_digest(metadata, spec, changed=bool(own)),
        runner=runner,
        exact_runner=alone,
        differentiable=lambda: _no_gradients(address),
        stated_rows=runner.rows,
        notes=(f"scores from {address}", *_notes(metadata, stated)),
    )


def _connect(address: str, options: RemoteOptions) -> Connection:
    headers = {}
    if options.api_key_file is not None:
        headers["authorization"] = f"Bearer {_key(options.api_key_file)}"
    return Connection(
        address, patience_s=options.patience, timeout_s=options.timeout, headers=headers
    )


def _key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"api_key_file {path} cannot be read: {error}") from error


def _object(found: Any, address: str) -> Json:  # Any: JSON
    if not isinstance(found, dict):
        raise InvalidInputError(f"{address} must describe a model, got {found!r:.80}")
    return found


def _stated(metadata: Json) -> Json:
    """Read what a server of ours says of its model; nothing from others."""
    if metadata.get("platform") != PLATFORM:
        return {}
    found = metadata.get("parameters", {}).get("specification", {})
    return dict(found) if isinstance(found, dict) else {}


def _spec(address: str, stated: Json, own: Mapping[str, object]) -> ModelSpec:
    if not stated and not own:
        raise InvalidInputError(
            f"{address} does not say how pictures are prepared for it and what its classes are: "
            "state that in a file like xaiserve.json (height, width, channels, value_range, mean, "
            f"std, resize, labels, activation) and name it, {address}?spec=FILE"
        )
    return spec_from_json({**stated, **own}, f"{address} with its specification file")


def _takes_binary(link: Connection, address: str) -> bool:
    root = address.partition("/models/")[0]
    return BINARY_EXTENSION in _object(link.get(root).json(), root).get("extensions", ())


def _rows(metadata: Json, wished: int) -> int:
    most = metadata.get("parameters", {}).get("max_batch_size")
    return min(wished, most) if isinstance(most, int) and most > 0 else wished


def _digest(metadata: Json, spec: ModelSpec, *, changed: bool) -> str:
    """Take the server's digest of its weights; of servers that have none, what they say at all."""
    stated = metadata.get("parameters", {}).get("digest")
    if isinstance(stated, str) and not changed:
        return stated
    whole = json.dumps(metadata, sort_keys=True).encode() + canonical_json(spec)
    return hashlib.sha256(whole).hexdigest()


def _notes(metadata: Json, stated: Json) -> tuple[str, ...]:
    if stated:
        return ()
    versions = ", ".join(map(str, metadata.get("versions", ()))) or "unknown"
    why = "the server states none of its weights"
    return (f"its digest is that of its metadata (versions {versions}): {why}",)


def _no_gradients(address: str) -> NoReturn:
    raise InvalidInputError(
        f"{address} is behind a server, which gives scores and no gradients: methods that need "
        "them want the model's own files"
    )
