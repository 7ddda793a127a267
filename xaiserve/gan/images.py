"""Folders of pictures, one per class, as the network's inputs in memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float16, Int64
from PIL import Image as PillowImage
from torch import Tensor

from xaiserve.errors import InvalidInputError
from xaiserve.gan.ranges import Span, resized
from xaiserve.perturb.rng import Keys
from xaiserve.storage.opening import list_pictures, read_uri
from xaiserve.storage.pictures import decode
from xaiserve.types import Image, Images

MIN_PICTURES: Final = 2
"""Of each class."""

Labels = tuple[str, str]
_Prepared = tuple[Tensor, Span]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pictures:
    """Pictures of two classes, at the network's size.

    Parameters
    ----------
    labels
        Names of the classes.
    inputs
        In [-1, 1] by each picture's own range; 16 bits, for there may be many.
    classes
        Of each picture, 0 or 1.
    span
        What -1 and 1 mean in each picture.
    skipped
        Files that were left out, each with its reason.
    """

    labels: Labels
    inputs: Float16[Tensor, "n c s s"]
    classes: Int64[Tensor, " n"]
    span: Span
    skipped: tuple[str, ...] = ()

    @property
    def counts(self) -> tuple[int, int]:
        """How many of each class there are."""
        diseased = int(self.classes.sum())
        return len(self.classes) - diseased, diseased

    def split(self, held_out: float, keys: Keys) -> "tuple[Pictures, Pictures]":
        """Set a share of each class aside; at least one picture, and never the last two."""
        aside = torch.zeros(len(self.classes), dtype=torch.bool)
        for number, count in enumerate(self.counts):
            rows = np.flatnonzero(self.classes.numpy() == number)
            wanted = min(max(1, round(held_out * count)), count - MIN_PICTURES)
            chosen = keys.child(number).generator().permutation(rows)[: max(0, wanted)]
            aside[torch.from_numpy(chosen)] = True
        return self._rows(~aside), self._rows(aside)

    def _rows(self, chosen: Tensor) -> "Pictures":
        return Pictures(
            labels=self.labels,
            inputs=self.inputs[chosen],
            classes=self.classes[chosen],
            span=self.span[chosen],
            skipped=self.skipped,
        )


def pictures_of(images: Sequence[Images], labels: Labels, side: int) -> Pictures:
    """Prepare pictures that are in memory, (n, c, h, w) in [0, 1] for each class."""
    parts = [_prepared(each, side) for each in images]
    classes = torch.cat([torch.full((len(each),), c) for c, each in enumerate(images)])
    return _joined(parts, classes, labels, ())


def read_folders(
    folders: Sequence[str], side: int, *, channels: int, labels: Labels | None = None
) -> Pictures:
    """Read every picture of two folders.

    Parameters
    ----------
    folders
        A folder or ``s3://`` prefix per class; its name is the class's label.
    side, channels
        Of the network.
    labels
        Names to use instead of the folders'.

    Raises
    ------
    InvalidInputError
        Not two folders, equal names, or fewer than two readable pictures of a class.
    ArtifactNotFoundError, StoreUnavailableError
        A folder does not exist or cannot be read.
    """
    names = labels or folder_labels(folders)
    parts: list[_Prepared] = []
    classes: list[int] = []
    skipped: list[str] = []
    for number, folder in enumerate(folders):
        good, unreadable = 0, len(skipped)
        for uri, found in _read_all(list_pictures(folder), side, channels):
            if isinstance(found, InvalidInputError):
                skipped.append(f"{uri}: {found}")
            else:
                parts.append(found)
                classes.append(number)
                good += 1
        if good < MIN_PICTURES:
            reasons = skipped[unreadable:]
            first = f"; {len(reasons)} cannot be read, the first: {reasons[0]}" if reasons else ""
            raise InvalidInputError(
                f"images of class {names[number]!r} must be at least {MIN_PICTURES} readable "
                f"pictures, got {good} in {folder}{first}"
            )
    return _joined(parts, torch.tensor(classes), names, tuple(skipped))


def folder_labels(folders: Sequence[str]) -> Labels:
    """Name two classes after their folders.

    Raises
    ------
    InvalidInputError
        There are not two, or they have one name.
    """
    if len(folders) != 2:  # noqa: PLR2004
        raise InvalidInputError(
            f"images must be two folders, one for each class, got {len(folders)}"
        )
    first, second = (folder.rstrip("/").rpartition("/")[2] for folder in folders)
    if first == second:
        raise InvalidInputError(
            f"images must be folders of different names, for these name the classes: got "
            f"{first!r} twice"
        )
    return first, second


def check_folders(folders: Sequence[str]) -> None:
    """Look whether folders hold enough files, before anything is started to read them.

    Raises
    ------
    InvalidInputError
        A folder has fewer than two pictures, readable or not.
    ArtifactNotFoundError, StoreUnavailableError
        A folder does not exist or cannot be read.
    """
    for folder in folders:
        if (count := len(list_pictures(folder))) < MIN_PICTURES:
            raise InvalidInputError(
                f"images must be folders of at least {MIN_PICTURES} pictures, got {count} in "
                f"{folder}"
            )


def picture_image(picture: PillowImage.Image, channels: int) -> Image:
    """Turn a decoded picture into (c, h, w) in [0, 1], grey or RGB as the network wants."""
    if picture.mode == "F":
        values = np.asarray(picture, dtype=np.float32)
        values = np.stack([values] * channels, axis=2)
    else:
        values = np.asarray(picture.convert("RGB" if channels == 3 else "L"), dtype=np.float32)  # noqa: PLR2004
        values = np.atleast_3d(values) / np.float32(255)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def _prepared(images: Images, side: int) -> _Prepared:
    """Scale pictures by their own range and resize them, as the translator does."""
    span = Span.of(images)
    return resized(span.to_inputs(images), side, side).half(), span


def _joined(
    parts: Sequence[_Prepared], classes: Tensor, labels: Labels, skipped: tuple[str, ...]
) -> Pictures:
    return Pictures(
        labels=labels,
        inputs=torch.cat([inputs for inputs, _ in parts]),
        classes=classes,
        span=Span(
            torch.cat([span.low for _, span in parts]), torch.cat([span.high for _, span in parts])
        ),
        skipped=skipped,
    )


def _read_all(
    uris: Sequence[str], side: int, channels: int
) -> Iterator[tuple[str, _Prepared | InvalidInputError]]:
    def read(uri: str) -> _Prepared | InvalidInputError:
        try:
            image = picture_image(decode(read_uri(uri)).image, channels)
            return _prepared(image.unsqueeze(0), side)
        except InvalidInputError as error:
            return error

    # Reading waits for disks and buckets; decoding releases the interpreter's lock.
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield from zip(uris, pool.map(read, uris), strict=True)
