"""Reading one sufficient set off a map: the walk along its ranking, and the verification.

Sections 4.1, 4.2 and 4.5 of the method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.ranking import Disc, ranking
from xaiserve.explainers.multirex.results import Origin, SufficientSet, sufficient_set
from xaiserve.explainers.multirex.walks import Hit, Steps, first_passing
from xaiserve.perturb.plan import Found, Goal, QueryPlan, Verdicts, decide
from xaiserve.perturb.query import Ranked, Scene
from xaiserve.types import Region, Saliency

Asking = QueryPlan[SufficientSet | None]
"""Looks for one set; none when there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """What every walk along a map needs.

    Parameters
    ----------
    saliency
        The map; larger is earlier in the ranking, ties by larger linear index first.
    options
        Of these ``chunk`` and ``walk`` say how to go; the spotlights read theirs.
    """

    scene: Scene
    goal: Goal
    saliency: Saliency
    options: MultiRexOptions

    def whole(self) -> Asking:
        """Return the first sufficient prefix of the map's ranking."""
        return (yield from self.prefix("global"))

    def prefix(
        self, kind: Origin, inside: Region | None = None, disc: Disc | None = None
    ) -> Asking:
        """Walk the ranking of the map, or of its part ``inside``, and release what is found.

        First is what ``options.walk`` makes of it: the smallest number of steps, or one whose last
        step is needed; see `walks`. The set is scored alone; when it fails there it is extended by
        whole steps. None when no size tried is sufficient.
        """
        rank = ranking(self.saliency, inside)
        pixels = rank.numel() if inside is None else int(inside.sum())

        def trial(sizes: Sequence[int], alone: bool) -> QueryPlan[Verdicts]:
            return decide(Ranked.prefixes(self.scene, rank, sizes, alone=alone), self.goal)

        steps = Steps(self.options.chunk, pixels)
        hit = yield from first_passing(trial, steps, self.options.walk)
        if hit is None:
            return None
        found = self._release(rank < hit.size, hit, kind, disc)
        yield Found(found)
        return found

    def _release(
        self, mask: Region, hit: Hit[Verdicts], kind: Origin, disc: Disc | None
    ) -> SufficientSet:
        place = (
            {"centre_row": disc.row, "centre_column": disc.column, "radius_px": disc.radius}
            if disc
            else {}
        )
        return sufficient_set(
            mask,
            one_row(hit.judged, hit.row),
            self.goal,
            kind,
            ranked_px=hit.first,
            extended_by=hit.size - hit.first,
            **place,
        )


def one_row(verdicts: Verdicts, row: int) -> Verdicts:
    """Keep what was decided about one row."""
    only = slice(row, row + 1)
    return Verdicts(verdicts.passes[only], verdicts.confidence[only], verdicts.scores[only])
