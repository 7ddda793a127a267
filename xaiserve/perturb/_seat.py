"""A lane's place at the desk."""

from concurrent.futures import Future
from dataclasses import dataclass

from xaiserve.perturb.lanes import Lane


@dataclass(slots=True, eq=False)
class Seat:
    """A lane's place at the desk.

    Parameters
    ----------
    lane
        None where no batches are scored, or not any more.
    under_way
        Batches taken and not brought back.
    back
        Resolves when a lane that is lost comes back.
    alone
        Whether the lane computes on its thread only, one of several in this process.
    """

    lane: Lane | None
    under_way: int = 0
    back: "Future[None] | None" = None
    alone: bool = False

    @property
    def is_core(self) -> bool:
        """Whether the lane is one core of this machine: it holds a batch until it is scored."""
        return self.alone and self.lane is not None and self.lane.depth == 1

    @property
    def has_room(self) -> bool:
        """Whether the lane can take another batch now."""
        return self.lane is not None and not self.back and self.under_way < self.lane.depth
