"""Real pictures with their true classes, and what the classifier says of each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from xaiserve.contrasts.base import Ask
from xaiserve.contrasts.partners import read_partner
from xaiserve.errors import InvalidInputError
from xaiserve.models.preparing import prepare
from xaiserve.models.spec import ModelSpec
from xaiserve.storage.images import expand
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.manifest_formats import is_manifest
from xaiserve.storage.pictures import decode
from xaiserve.storage.results import digest_of
from xaiserve.types import Image, Scores

MAX_BYTES: Final = 1 << 30
"""Of the pool in memory: a byte per pixel and channel, so 7 100 pictures of 224x224 in RGB."""

SCORED: Final = 64
"""Pictures scored at once while a pool is prepared."""

_TOP: Final = 255.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pool:
    """Pictures prepared for a classifier.

    Parameters
    ----------
    uris, digests
        Where each is, and the sha256 of its file.
    pixels
        As prepared, rounded to 8 bits: for distances, not for showing.
    classes
        The true class of each, by the classifier's count.
    scores
        (n, k) what the classifier says.
    skipped
        Pictures that were left out because they cannot be read, each with its reason.
    """

    uris: tuple[str, ...]
    digests: tuple[str, ...]
    pixels: UInt8[Tensor, "n p"]
    classes: Int64[Tensor, " n"]
    scores: Scores
    skipped: tuple[str, ...] = ()

    def distances(self, images: Float32[Tensor, "m p"], rows: Tensor) -> Float32[Tensor, "m r"]:
        """Measure the Euclidean distance of each image to the pictures in ``rows``."""
        parts = [
            torch.cdist(
                images,
                self.pixels[some].float() / _TOP,
                compute_mode="donot_use_mm_for_euclid_dist",
            )
            for some in torch.split(rows, SCORED)
        ]
        return torch.cat(parts, dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The pictures of a pool before any is read: where they are, and their true classes."""

    source: str
    rows: tuple[tuple[str, int], ...]

    @property
    def digest(self) -> str:
        """Sha256 of addresses and classes."""
        return digest_of([self.source, [list(row) for row in self.rows]])


def list_pool(source: str, spec: ModelSpec) -> Listing:
    """List the pictures of a folder or a manifest whose true class is one of the classifier's.

    In a manifest the class is in column ``label`` or ``target``; in a folder it is the name of the
    nearest folder around the picture that is a class's name.

    Raises
    ------
    InvalidInputError
        There is no such picture, or there are too many for `MAX_BYTES`.
    ArtifactNotFoundError, StoreUnavailableError
        The pool does not exist, or cannot be read.
    """
    found = expand(source)
    labels = {label.lower(): index for index, label in enumerate(spec.labels)}
    root = None if is_manifest(source) else source.rstrip("/")
    known = [(row, _class_of(row, labels, root, spec)) for row in found]
    rows = tuple((row.uri, index) for row, index in known if index is not None)
    if not rows:
        where = "column label of the manifest" if root is None else "its folders' names"
        raise InvalidInputError(
            f"pool {source} must tell its {len(found)} pictures' classes by {where}: none is "
            f"a class of the model, which has {', '.join(spec.labels[:20])}"
        )
    _check_size(source, len(rows), spec)
    return Listing(source=source, rows=rows)


def _class_of(
    row: ImageRow, labels: dict[str, int], root: str | None, spec: ModelSpec
) -> int | None:
    if root is None:
        told = row.target
        if told is not None and told.isdecimal() and int(told) < spec.classes:
            return int(told)
        return labels.get((told or "").lower())
    inside = (PurePosixPath(root).name, *PurePosixPath(row.row_id).parts[:-1])
    return next((labels[part.lower()] for part in reversed(inside) if part.lower() in labels), None)


def _check_size(source: str, count: int, spec: ModelSpec) -> None:
    each = spec.channels * spec.height * spec.width
    if count * each > MAX_BYTES:
        raise InvalidInputError(
            f"pool {source} must have at most {MAX_BYTES // each} pictures of "
            f"{spec.width}x{spec.height} px and {spec.channels} channels, got {count}"
        )


def prepare_pool(listing: Listing, spec: ModelSpec, ask: Ask) -> Pool:
    """Read, prepare and score the pictures, a batch at a time; one model input for each.

    Raises
    ------
    InvalidInputError
        Not one can be read.
    """
    uris: list[str] = []
    digests: list[str] = []
    classes: list[int] = []
    scores: list[Scores] = []
    skipped: list[str] = []
    pixels = torch.empty(
        len(listing.rows), spec.channels * spec.height * spec.width, dtype=torch.uint8
    )
    for batch in _batches(listing.rows, spec, skipped):
        images = torch.stack([image for _, _, _, image in batch])
        first = len(uris)
        pixels[first : first + len(batch)] = eight_bit(images.flatten(1))
        scores.append(ask(images))
        for uri, index, digest, _ in batch:
            uris.append(uri)
            classes.append(index)
            digests.append(digest)
    if not uris:
        raise InvalidInputError(
            f"pool {listing.source} holds no picture that can be read: {skipped[0]}"
        )
    return Pool(
        uris=tuple(uris),
        digests=tuple(digests),
        pixels=pixels[: len(uris)],
        classes=torch.tensor(classes),
        scores=torch.cat(scores),
        skipped=tuple(skipped),
    )


def eight_bit(values: Float32[Tensor, "n p"]) -> UInt8[Tensor, "n p"]:
    """Round values in [0, 1] to 8 bits."""
    return (values * _TOP).round().to(torch.uint8)


_Read = tuple[str, int, str, Image]


def _batches(
    rows: Sequence[tuple[str, int]], spec: ModelSpec, skipped: list[str]
) -> Iterator[list[_Read]]:
    batch: list[_Read] = []
    for uri, index in rows:
        try:
            image, digest = read_prepared(uri, spec)
        except InvalidInputError as error:
            skipped.append(f"{uri}: {error}")
            continue
        batch.append((uri, index, digest, image))
        if len(batch) == SCORED:
            yield batch
            batch = []
    if batch:
        yield batch


def read_prepared(uri: str, spec: ModelSpec) -> tuple[Image, str]:
    """Read a picture and prepare it for the classifier; the second is its file's sha256."""
    data = read_partner(uri)
    image, _ = prepare(decode(data), spec)
    return image, hashlib.sha256(data).hexdigest()
