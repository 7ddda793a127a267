"""A generated data set, made in pieces by several processes, that goes on where it stopped."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import ClassVar, Final, Protocol

from xaiserve.data.dataset import (
    MANIFEST,
    read_rows,
    to_csv,
    write_manifests,
    write_sample,
)
from xaiserve.data.planted import planted_sample
from xaiserve.data.sample import Sample
from xaiserve.data.synthetic import Preset, synthetic_sample
from xaiserve.errors import ArtifactNotFoundError, ConflictError, InvalidInputError
from xaiserve.storage.objects import ObjectStore, exists, read_if_there
from xaiserve.storage.opening import open_store

RECORD: Final = "dataset.json"
PIECE: Final = 50
"""Samples that are lost at most when a process is killed."""

_PIECE_START: Final = "manifest-"


class Generator(Protocol):
    """What draws sample number so and so, whatever was drawn before: a dataclass of settings."""

    kind: ClassVar[str]

    def sample(self, index: int) -> Sample: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticClear:
    """See `synthetic_sample`."""

    kind: ClassVar[str] = "synthetic-clear"

    seed: int = 0
    preset: Preset = "archived"

    def sample(self, index: int) -> Sample:
        return synthetic_sample(self.seed, index, self.preset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """See `planted_sample`."""

    kind: ClassVar[str] = "planted"

    seed: int = 0

    def sample(self, index: int) -> Sample:
        return planted_sample(self.seed, index)


AnyGenerator = SyntheticClear | Planted


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a data set holds, in pictures.

    Parameters
    ----------
    found
        Of them, how many an earlier run had left.
    """

    pictures: int
    diseased: int
    found: int


def make_dataset(
    generator: AnyGenerator,
    count: int,
    out: str,
    *,
    workers: int = 1,
    on_samples: Callable[[int], None] = lambda _: None,
) -> Made:
    """Generate the first ``count`` samples into a folder or bucket; see `write_dataset`.

    The same call again makes what is missing; two at once make the same files.

    Parameters
    ----------
    workers
        Processes.
    on_samples
        Told how many samples have been added.

    Raises
    ------
    InvalidInputError
        ``count`` is below 1.
    ConflictError
        ``out`` holds something else, or a data set of another generator, seed or count.
    """
    if count < 1:
        raise InvalidInputError(f"count must be at least 1, got {count}")
    store = open_store(out)
    _claim(store, {"kind": generator.kind, **asdict(generator), "count": count})
    if exists(store, MANIFEST):
        on_samples(count)
        return _made(store, found=count)
    starts = range(0, count, PIECE)
    missing = [start for start in starts if not exists(store, _piece(start))]
    found = sum(min(PIECE, count - start) for start in starts if start not in set(missing))
    on_samples(found)
    # Spawned: a fork of a process with threads may hang.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        tasks = [(generator, start, min(PIECE, count - start), out) for start in missing]
        for size in pool.map(_make_piece, tasks) if workers > 1 else map(_make_piece, tasks):
            on_samples(size)
    _finish(store, starts)
    return _made(store, found=found)


def _finish(store: ObjectStore, starts: Sequence[int]) -> None:
    """Put the pieces together, and remove them once there is a manifest."""
    pieces = [read_if_there(store, _piece(start)) for start in starts]
    whole = [piece for piece in pieces if piece is not None]
    if len(whole) == len(starts):
        write_manifests([row for piece in whole for row in read_rows(piece)], store)
    # If any has gone, another process has finished the same data set.
    for key in store.list(_PIECE_START):
        with suppress(ArtifactNotFoundError):
            store.remove(key)


def _make_piece(task: tuple[AnyGenerator, int, int, str]) -> int:
    """Make some samples in a row, and then their piece of the manifest; say how many."""
    generator, start, size, out = task
    store = open_store(out)
    numbers = range(start, start + size)
    rows = [write_sample(number, generator.sample(number), store) for number in numbers]
    store.write(_piece(start), to_csv(rows))
    return size


def _claim(store: ObjectStore, settings: dict[str, object]) -> None:
    """Write down what the folder is for, or see that it is for the same."""
    text = json.dumps(settings, sort_keys=True).encode()
    known = read_if_there(store, RECORD)
    if known is None:
        if store.list():
            raise ConflictError(f"{store.uri} holds files of something else; name another folder")
        store.write(RECORD, text)
    elif known != text:
        raise ConflictError(
            f"{store.uri} holds another data set, {known.decode()}; asked for is {text.decode()}"
        )


def _piece(start: int) -> str:
    return f"{_PIECE_START}{start:08d}.csv"


def _made(store: ObjectStore, *, found: int) -> Made:
    rows = read_rows(store.read(MANIFEST))
    diseased = sum(row.label == "diseased" for row in rows)
    return Made(pictures=len(rows), diseased=diseased, found=found)
