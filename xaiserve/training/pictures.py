"""Labelled pictures in memory: read from folders or a manifest, split, drawn in batches."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from xaiserve.errors import InvalidInputError, NotFoundError
from xaiserve.models.preparing import prepare
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.rng import Keys
from xaiserve.storage.opening import read_uri
from xaiserve.storage.pictures import decode

MIN_PICTURES: Final = 4
"""Of each class: fewer cannot be split into training and test."""

READERS: Final = 8


@dataclass(frozen=True, slots=True)
class Labelled:
    """Where a picture is, and its class."""

    uri: str
    label: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pictures:
    """Pictures of several classes at the network's size.

    Parameters
    ----------
    labels
        Names of the classes.
    values
        0 to 255, eight bits each, for there may be many.
    classes
        Index of each picture's class.
    names
        File names without folder and ending: pictures of one name belong together.
    """

    labels: tuple[str, ...]
    values: UInt8[Tensor, "n c h w"]
    classes: Int64[Tensor, " n"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many of each class there are."""
        found = torch.bincount(self.classes, minlength=len(self.labels))
        return tuple(found.tolist())

    def images(self, rows: Int64[Tensor, " m"]) -> Float32[Tensor, "m c h w"]:
        """Return some pictures in image units, [0, 1]."""
        return self.values[rows].float() / 255

    def rows_of(self, label: int) -> Int64[Tensor, " m"]:
        """List the pictures of one class."""
        return torch.nonzero(self.classes == label)[:, 0]

    def split(self, share: float, keys: Keys) -> "tuple[Pictures, Pictures]":
        """Set about a share of the *names* aside.

        Files of one name (a picture and its twin in another folder) stay on one side, so that no
        twin of a test picture is trained on.
        """
        aside = torch.tensor(
            [keys.child(name).below(10**9)[0] < share * 10**9 for name in self.names]
        )
        return self._only(~aside), self._only(aside)

    def _only(self, chosen: Tensor) -> "Pictures":
        rows = torch.nonzero(chosen)[:, 0]
        return Pictures(
            labels=self.labels,
            values=self.values[rows],
            classes=self.classes[rows],
            names=tuple(self.names[row] for row in rows.tolist()),
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why."""

    uri: str
    reason: str


def read_pictures(
    listed: Sequence[Labelled], spec: ModelSpec, on_picture: Callable[[], None] = lambda: None
) -> tuple[Pictures, tuple[Skipped, ...]]:
    """Read pictures as a model of ``spec`` will see them; its labels order the classes.

    Raises
    ------
    InvalidInputError
        A class has fewer than `MIN_PICTURES` readable pictures.
    """
    values: list[Tensor] = []
    good: list[Labelled] = []
    skipped: list[Skipped] = []
    for one, found in _read_all(listed, spec):
        on_picture()
        if isinstance(found, Tensor):
            values.append(found)
            good.append(one)
        else:
            skipped.append(Skipped(one.uri, str(found)))
    counts = Counter(one.label for one in good)
    for label in spec.labels:
        if counts[label] < MIN_PICTURES:
            raise InvalidInputError(
                f"class {label!r} must have at least {MIN_PICTURES} readable pictures, got "
                f"{counts[label]} ({len(skipped)} files of all classes cannot be read"
                f"{f', the first: {skipped[0].uri}: {skipped[0].reason}' if skipped else ''})"
            )
    pictures = Pictures(
        labels=spec.labels,
        values=torch.stack(values),
        classes=torch.tensor([spec.labels.index(one.label) for one in good]),
        names=tuple(PurePosixPath(one.uri).stem for one in good),
    )
    return pictures, tuple(skipped)


def _read_all(
    listed: Sequence[Labelled], spec: ModelSpec
) -> Iterator[tuple[Labelled, Tensor | Exception]]:
    def read(one: Labelled) -> Tensor | Exception:
        try:
            image, _ = prepare(decode(read_uri(one.uri)), spec)
        except (InvalidInputError, NotFoundError) as error:
            return error
        return (image * 255).round().to(torch.uint8)

    # Reading waits for disks and buckets; decoding releases the interpreter's lock.
    with ThreadPoolExecutor(max_workers=READERS) as pool:
        yield from zip(listed, pool.map(read, listed), strict=True)


def balanced_batch(
    pictures: Pictures, rows: int, flips: str, draws: np.random.Generator
) -> tuple[Float32[Tensor, "n c h w"], Int64[Tensor, " n"]]:
    """Draw a batch in image units with the classes equally often, mirrored at random.

    Parameters
    ----------
    flips
        ``none``, ``horizontal`` or ``both``.
    """
    members = [pictures.rows_of(label) for label in range(len(pictures.labels))]
    classes = np.arange(rows) % len(members)
    chosen = [_one_of(members[label], draws) for label in classes.tolist()]
    images = pictures.images(torch.tensor(chosen))
    for axis in {"none": (), "horizontal": (3,), "both": (3, 2)}[flips]:
        mirrored = torch.from_numpy(draws.random(rows) < 1 / 2)
        images[mirrored] = images[mirrored].flip(axis)
    return images, torch.from_numpy(classes)


def _one_of(rows: Tensor, draws: np.random.Generator) -> int:
    return int(rows[int(draws.integers(len(rows)))])
