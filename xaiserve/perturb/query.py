"""What is asked of a classifier: many perturbed images at once, described rather than shipped.

Every variant but `Pixels` chooses, pixel by pixel, between the two pictures of a `Scene`. It says
how through `weigh`, which writes the image's share of each pixel into a buffer; `perturb.compose`
does the rest. A new variant needs a reason and touches only this file.

============ ===================================================== =======================
variant      one row is                                             used by
============ ===================================================== =======================
`Pixels`     a finished picture                                     generated paths
`Mix`        a subset of segments                                   LIME, Kernel SHAP, CLEAR
`Boxes`      a union of disjoint rectangles                         responsibility search
`Ranked`     the pixels whose rank lies in an interval              prefixes, discs, insertion
`Blend`      real-valued weights                                    RISE
`Coarse`     a coarse grid of weights, enlarged                     SAG
`Joined`     a row of one of several queries                        `gather`
============ ===================================================== =======================
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn import functional

from xaiserve.perturb._upload import upload
from xaiserve.types import Image, Images, Keep, Labels, Rank, Weights


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Scene:
    """The two pictures a perturbation chooses between, (c, h, w) each, in image units.

    The image lies in [0, 1]; the fill may leave it (`decisions`: the neutral colour of a model).
    """

    image: Image
    fill: Image


class Masked(Protocol):
    """A question about one scene."""

    @property
    def scene(self) -> Scene: ...

    @property
    def alone(self) -> bool:
        """Whether each row is scored in a batch of its own, so that company cannot move it."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> "Masked": ...

    def weigh(self, out: Weights) -> None:
        """Write the image's share of each pixel, in [0, 1], into ``out`` (n, h, w)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Finished pictures (n, c, h, w), in image units."""

    images: Images
    alone: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> "Pixels":
        return replace(self, images=self.images[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """One picture per row of ``keep``: kept segments show the image, the others the fill."""

    scene: Scene
    labels: Labels
    keep: Keep
    alone: bool = False

    def __len__(self) -> int:
        return len(self.keep)

    def __getitem__(self, rows: slice) -> "Mix":
        return replace(self, keep=self.keep[rows])

    def weigh(self, out: Weights) -> None:
        share = upload(self.keep, out.device, out.dtype)
        labels = upload(self.labels, out.device).flatten()
        torch.index_select(share, 1, labels, out=out.view(len(out), labels.numel()))


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """One union of rectangles per row.

    Parameters
    ----------
    boxes
        (m, 4): r0, r1, c0, c1 in pixels, ends exclusive; those of one row must not overlap.
    row
        (m,): which row each box belongs to, ascending.
    rows
        Number of rows; a row without boxes shows the fill alone.
    """

    scene: Scene
    boxes: Int64[Tensor, "m 4"]
    row: Int64[Tensor, " m"]
    rows: int
    alone: bool = False

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> "Boxes":
        start, stop, _ = rows.indices(self.rows)
        stop = max(start, stop)
        mine = slice(*np.searchsorted(self.row.numpy(), (start, stop)).tolist())
        return replace(self, boxes=self.boxes[mine], row=self.row[mine] - start, rows=stop - start)

    def weigh(self, out: Weights) -> None:
        """Write the boxes one by one on a CPU, all at once on a device that is far away."""
        if out.device.type == "cpu":
            self.write(out)
        else:
            self.multiply(out)

    def write(self, out: Weights) -> None:
        """Write box by box: at most 0.36 of the time of `multiply`, 2 to 16 rows on one core."""
        shares = out.zero_().numpy()
        for row, (r0, r1, c0, c1) in zip(self.row.tolist(), self.boxes.tolist(), strict=True):
            shares[row, r0:r1, c0:c1] = 1

    def multiply(self, out: Weights) -> None:
        """Sum the boxes as outer products of row and column indicators, one batched product."""
        n, h, w = out.shape
        if not len(self.boxes):
            out.zero_()
            return
        place = torch.arange(len(self.row)) - torch.searchsorted(self.row, self.row)
        most = int(place.max()) + 1
        padded = torch.zeros(n, most, 4, dtype=torch.int64)
        padded[self.row, place] = self.boxes
        padded = upload(padded, out.device)
        tall = _between(torch.arange(h, device=out.device)[:, None], padded[:, None, :, :2])
        wide = _between(torch.arange(w, device=out.device), padded[:, :, 2:, None].transpose(2, 3))
        torch.bmm(tall.to(out.dtype), wide.to(out.dtype), out=out)


def _between(position: Tensor, ends: Tensor) -> Tensor:
    return (position >= ends[..., 0]) & (position < ends[..., 1])


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Per row, the pixels whose rank lies in ``[start, stop)`` show the image.

    A prefix of an order is ``start = 0``; what a prefix leaves is ``stop = h * w``; with the
    squared distance to a centre as rank, a row is a disc.
    """

    scene: Scene
    rank: Rank
    start: Int64[Tensor, " n"]
    stop: Int64[Tensor, " n"]
    alone: bool = False

    @classmethod
    def prefixes(
        cls, scene: Scene, rank: Rank, sizes: Sequence[int], *, alone: bool = False
    ) -> "Ranked":
        """Show the first ``sizes[i]`` pixels in row i."""
        stop = torch.tensor(sizes, dtype=torch.int64)
        return cls(scene, rank, torch.zeros_like(stop), stop, alone)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: slice) -> "Ranked":
        return replace(self, start=self.start[rows], stop=self.stop[rows])

    def weigh(self, out: Weights) -> None:
        # Compared as float32, exact below 2**24: twenty times faster than integers into floats.
        rank = upload(self.rank, out.device, out.dtype)
        start, stop = (upload(ends, out.device, out.dtype) for ends in (self.start, self.stop))
        torch.lt(rank, stop[:, None, None], out=out)
        if bool(self.start.any()):
            out *= rank >= start[:, None, None]


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """Real-valued weights (n, h, w) in [0, 1]: the image's share of each pixel."""

    scene: Scene
    weights: Weights
    alone: bool = False

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, rows: slice) -> "Blend":
        return replace(self, weights=self.weights[rows])

    def weigh(self, out: Weights) -> None:
        out.copy_(upload(self.weights, out.device))


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """One coarse grid of weights (n, r, c) in [0, 1] per row, enlarged by `enlarged`.

    A thousandth of what `Blend` would carry, and enlarged on the device.
    """

    scene: Scene
    grids: Float32[Tensor, "n r c"]
    alone: bool = False

    def __len__(self) -> int:
        return len(self.grids)

    def __getitem__(self, rows: slice) -> "Coarse":
        return replace(self, grids=self.grids[rows])

    def weigh(self, out: Weights) -> None:
        out.copy_(enlarged(upload(self.grids, out.device), out.shape[1], out.shape[2]))


def enlarged(grids: Float32[Tensor, "n r c"], height: int, width: int) -> Weights:
    """Enlarge grids bilinearly, their corners on the centres of the picture's corner pixels."""
    return functional.interpolate(
        grids.unsqueeze(1), size=(height, width), mode="bilinear", align_corners=True
    ).squeeze(1)


Leaf = Pixels | Mix | Boxes | Ranked | Blend | Coarse


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Several questions answered together, their rows one after the other."""

    parts: tuple[Leaf, ...] = field(default=())

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)


Query = Leaf | Joined

NOTHING: Final = Joined()
"""No question: what a plan yields that waits for another which it is gathered with."""


def leaves(query: Query) -> tuple[Leaf, ...]:
    """Take a query apart into leaves; their rows in order are the query's."""
    return query.parts if isinstance(query, Joined) else (query,)


def join(queries: Sequence[Query]) -> Query:
    """Ask several questions as one."""
    if len(queries) == 1:
        return queries[0]
    return Joined(tuple(leaf for query in queries for leaf in leaves(query)))


def select(query: Query, rows: Sequence[int], *, alone: bool) -> Query:
    """Ask for some rows of ``query`` again."""
    parts = leaves(query)
    ends = list(accumulate(len(part) for part in parts))
    found: list[Query] = []
    for row in rows:
        index = bisect_right(ends, row)
        at = row - ends[index] + len(parts[index])
        found.append(_alone(parts[index][at : at + 1], alone=alone))
    return join(found)


def _alone(query: Leaf, *, alone: bool) -> Leaf:
    return replace(query, alone=alone)
