"""A score as the first pixels of an order come and go."""

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from xaiserve.perturb.plan import QueryPlan, ask
from xaiserve.perturb.query import Joined, Ranked, Scene
from xaiserve.types import Rank

Curve = Float32[Tensor, " n"]
"""A score after each of n sizes."""


def come_and_go(
    onto: Scene, out_of: Scene, rank: Rank, sizes: Sequence[int], target: int
) -> QueryPlan[tuple[Curve, Curve]]:
    """Ask for the target's score with the first ``sizes[i]`` pixels of ``rank`` in, and out.

    Parameters
    ----------
    onto
        The pixels in show its image, the others its fill.
    out_of
        The pixels out show its fill, the others its image.

    Returns
    -------
    tuple[Curve, Curve]
        One score per size; 2 n model inputs in one question.
    """
    into = Ranked.prefixes(onto, rank, sizes)
    out = Ranked(out_of, rank, into.stop, torch.full_like(into.stop, rank.numel()))
    scores = yield from ask(Joined((into, out)))
    insertion, deletion = torch.split(scores[:, target], len(sizes))
    return insertion, deletion
