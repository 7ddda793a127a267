"""The search as a whole: one plan from the image to the family of sets."""

from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from xaiserve.explainers.multirex.baselines import check_case
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.quality import PICTURES
from xaiserve.explainers.multirex.responsibility import ROWS_PER_QUERY
from xaiserve.explainers.multirex.results import MultiRexExplanation
from xaiserve.explainers.multirex.stages import Stages
from xaiserve.explainers.multirex.walks import WIDE
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import QueryPlan, Stop
from xaiserve.perturb.rng import Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRex(MultiRexOptions):
    """Search for sufficient explanations of one image that differ from each other."""

    name: ClassVar[str] = "multirex"
    version: ClassVar[int] = 4

    def bytes_in_flight(self, case: Case) -> int:
        """Count a rank image of 8 bytes per walk, the map, and the scores of the largest round.

        A round's scores are held twice while they are judged. The number of classes is not known
        here; a thousand are assumed. A noise picture is held as it is and, with the image, as it
        is normalised; so is a fill of an iteration's own.
        """
        pixels = case.height * case.width
        fills = self.iterations if self.baseline in {"random", "linear"} else 1
        pictures = 3 * 4 * case.image.numel() * (fills + min(self.robustness, PICTURES))
        images = (self.spotlights + 8) * pixels * 8 + pictures
        rows = max(min(self.iterations * 42, ROWS_PER_QUERY), self.spotlights * WIDE)
        rows = max(rows, 2 * (pixels // self.insertion_step) if self.curves else 0)
        return images + rows * 2 * 4 * 1000

    def plan(self, case: Case, keys: Keys) -> QueryPlan[MultiRexExplanation]:
        """Search ``case``, stage by stage; see `stages`.

        At the defaults about 2 900 inputs on a photograph: 1 650 for the map, 40 for the global
        set, the others for sets that share no pixel. When stopped early it returns the sets
        verified so far and the map as it is.

        Raises
        ------
        InvalidInputError
            An option does not fit the case; nothing was asked.
        NoExplanationError
            The classifier does not decide for the target on the whole image, or the search has
            come to its end without a set.
        """
        check_case(self, case)
        stages = Stages(self, case, keys)
        yield from stages.begin()
        # A stop during the search ends it with what it has; one before it has nothing to give.
        with suppress(Stop):
            yield from stages.run()
            stages.check_found()
        return stages.conclude(self.name)
