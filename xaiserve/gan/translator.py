"""A trained generator as a `Translator`: its folder, written and read, and how it is asked.

A translator folder holds ``model.safetensors`` (the generator alone), ``config.json`` (architecture
and class names) and ``README.md``, a card for people.

Deviations from the published code, which normalises with the statistics of the batch at hand, at
inference too: statistics are frozen, and a batch has a fixed number of rows, so that a picture is
drawn bit for bit alike alone and in company. ``parity`` brings the statistics of the picture back.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from xaiserve.errors import ClassifierFaultError, InvalidInputError, NotFoundError
from xaiserve.gan.architecture import Architecture
from xaiserve.gan.networks import CLASSES, Generator
from xaiserve.gan.ranges import Span, resized
from xaiserve.models.torch_classifier import full_precision, resolve_device
from xaiserve.storage.objects import ObjectStore, read_if_there
from xaiserve.storage.opening import open_store
from xaiserve.types import Images

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
CARD: Final = "README.md"
KIND: Final = "contrast-gan"
EMBEDDED: Final = "embedded"

MIN_SIDE: Final = 32
"""Of a picture; below, there is nothing to segment."""

_CUDA_ROWS: Final = 8
_SHOWN: Final = 200
_TORCH_SAYS: Final = "Error(s) in loading state_dict for Generator:"


@dataclass(frozen=True, eq=False, kw_only=True)
class GanTranslator:
    """See `Translator`.

    Parameters
    ----------
    generator
        In evaluation mode, on ``device``.
    rows
        Pictures per batch; a batch with fewer is filled up with copies, for kernels are chosen by
        its size.
    """

    name: str
    labels: tuple[str, str]
    generator: Generator
    digest: str
    device: torch.device
    rows: int

    @property
    def side(self) -> int:
        return self.generator.architecture.side

    @property
    def channels(self) -> int:
        return self.generator.architecture.channels

    def target(self, label: str) -> int:
        """See `Translator.target`."""
        if label not in self.labels:
            raise InvalidInputError(
                f"translator {self.name!r} has the classes {' and '.join(self.labels)}, "
                f"got {label!r}"
            )
        return self.labels.index(label)

    def translate(self, images: Images, target: int | Sequence[int]) -> Images:
        """See `Translator.translate`.

        Each picture is scaled to [-1, 1] by its own darkest and brightest value, resized to the
        network's side, redrawn, resized back, scaled back and clipped to [0, 1]. A grey network
        takes pictures of three equal channels, and draws three.
        """
        targets = [target] * len(images) if isinstance(target, int) else list(target)
        self._check(images, targets)
        grey = images[:, :1] if images.shape[1] > self.channels else images
        drawn = torch.empty_like(grey, device="cpu")
        for one in sorted(set(targets)):
            rows = [row for row, wanted in enumerate(targets) if wanted == one]
            for part in _chunks(rows, self.rows):
                drawn[part] = self._draw(grey[part], one)
        return drawn.expand(-1, images.shape[1], -1, -1).contiguous()

    def _draw(self, images: Images, target: int) -> Images:
        filled = torch.cat([images, images[-1:].expand(self.rows - len(images), -1, -1, -1)])
        filled = filled.to(self.device)
        with torch.inference_mode(), full_precision(self.device):
            span = Span.of(filled)
            inputs = resized(span.to_inputs(filled), self.side, self.side)
            outputs = self.generator(inputs, target)
            if not torch.isfinite(outputs[: len(images)]).all():
                raise ClassifierFaultError(f"translator {self.name!r} answered with NaN")
            height, width = images.shape[2:]
            return span.to_images(resized(outputs, height, width))[: len(images)].cpu()

    def _check(self, images: Images, targets: Sequence[int]) -> None:
        if len(targets) != len(images):
            raise InvalidInputError(
                f"targets must be one for each of {len(images)} images, got {len(targets)}"
            )
        for one in targets:
            if not 0 <= one < CLASSES:
                raise InvalidInputError(f"target must be 0 or 1, got {one}")
        channels, height, width = images.shape[1:]
        if min(height, width) < MIN_SIDE:
            raise InvalidInputError(
                f"image sides must be at least {MIN_SIDE} pixels, got {width}x{height}"
            )
        grey_as_rgb = self.channels == 1 and channels == 3  # noqa: PLR2004
        if channels != self.channels and not grey_as_rgb:
            raise InvalidInputError(
                f"translator {self.name!r} takes {self.channels} channels, got {channels}"
            )
        if grey_as_rgb and not torch.equal(images, images[:, :1].expand_as(images)):
            raise InvalidInputError(
                f"translator {self.name!r} takes grey images, got one in colour"
            )


def write_translator(
    store: ObjectStore,
    generator: Generator,
    labels: tuple[str, str],
    card: str,
    *,
    training: Mapping[str, Any],  # Any: JSON
) -> None:
    """Write a translator folder; the configuration comes last and says that it is whole."""
    state = {
        key: value.detach().cpu().contiguous() for key, value in generator.state_dict().items()
    }
    config = {
        "kind": KIND,
        "labels": list(labels),
        "architecture": generator.architecture.to_json(),
        "training": dict(training),
    }
    store.write(WEIGHTS, save(state))
    store.write(CARD, card.encode())
    store.write(CONFIG, (json.dumps(config, indent=2) + "\n").encode())


def embedded_translator_folder() -> Path:
    """Return the folder of the translator that this package ships."""
    return Path(str(files("xaiserve").joinpath("data", "embedded_translator")))


def load_translator(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    parity: bool = False,
    rows: int | None = None,
) -> GanTranslator:
    """Load a translator folder.

    Parameters
    ----------
    source
        A folder, an ``s3://`` prefix, or ``embedded``: the small one for generated pictures.
    device
        Where it draws.
    parity
        Normalise by the statistics of the picture at hand, alone in its batch, as the published
        code does; only for ``norm`` batch, where it makes a difference.
    rows
        Pictures per batch; 1 on a CPU and 8 on a GPU when none.

    Raises
    ------
    NotFoundError
        There is no such folder, or it holds no translator.
    InvalidInputError
        A file is damaged, or of another kind of model.
    """
    where = embedded_translator_folder() if source == EMBEDDED else source
    store, place = open_store(where), resolve_device(device)
    config = _read_config(store)
    weights = read_if_there(store, WEIGHTS)
    if weights is None:
        raise NotFoundError(f"{store.uri} holds no {WEIGHTS}")
    generator = _filled(Generator(config.architecture), weights, store.uri)
    if parity:
        _forget_statistics(generator)
    deciding = json.dumps([config.architecture.to_json(), config.labels, parity], sort_keys=True)
    chosen = rows or (_CUDA_ROWS if place.type == "cuda" else 1)
    return GanTranslator(
        name=EMBEDDED if source == EMBEDDED else store.uri.rstrip("/").rpartition("/")[2],
        labels=config.labels,
        generator=generator.eval().to(place),
        digest=hashlib.sha256(weights + deciding.encode()).hexdigest(),
        device=place,
        rows=1 if parity else chosen,
    )


@dataclass(frozen=True, slots=True)
class _Config:
    labels: tuple[str, str]
    architecture: Architecture


def _read_config(store: ObjectStore) -> _Config:
    data = read_if_there(store, CONFIG)
    if data is None:
        raise NotFoundError(f"{store.uri} holds no translator: there is no {CONFIG}")
    try:
        found = json.loads(data)
        kind, labels, sizes = found["kind"], found["labels"], found["architecture"]
        first, second = labels
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{store.uri}/{CONFIG} is damaged: {error!r}") from error
    if kind != KIND:
        raise InvalidInputError(f"kind in {store.uri}/{CONFIG} must be {KIND}, got {kind!r}")
    try:
        return _Config((str(first), str(second)), Architecture.from_json(sizes))
    except InvalidInputError as error:
        raise InvalidInputError(f"{store.uri}/{CONFIG} is damaged: {error}") from error


def _filled(generator: Generator, weights: bytes, where: str) -> Generator:
    try:
        generator.load_state_dict(load(weights))
    except (RuntimeError, SafetensorError) as error:
        # torch's first line says only that there are errors.
        first = str(error).removeprefix(_TORCH_SAYS).strip().partition("\n")[0]
        raise InvalidInputError(
            f"{where}/{WEIGHTS} does not fit the network of {CONFIG}: {shorten(first, _SHOWN)}"
        ) from error
    return generator


def _forget_statistics(generator: Generator) -> None:
    """Make BatchNorm use the statistics of its input, without keeping them."""
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None


def _chunks(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
