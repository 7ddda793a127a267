"""How much a worker gets at a time: by how long its tasks take, and by what is left."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Final

from xaiserve.pipelines.tasks import Chunk, Task

PART_S: Final = 20.0
"""What a chunk aims at: that much is lost with a worker, and each chunk costs a few requests."""

FIRST_TASKS: Final = 8
"""Before anything is known of a method's speed; a part then grows at most fourfold at a time."""

MAX_TASKS: Final = 2048
PARTS_PER_WORKER: Final = 4
"""Of what is left, at least: so that all workers are busy to the end."""

_GROWTH: Final = 4


class Cutter:
    """Cut streams of tasks into chunks, method after method, only as fast as they are taken.

    Chunks become ever smaller towards the end, so that no worker waits long for another that has
    met hard images: 0.3 to 4 % of the job, where chunks of one size cost 2 to 17 % (simulated: 2
    and 8 workers, 50 to 5 000 images, one in ten of them 6 times as hard).

    Parameters
    ----------
    streams
        Tasks that have no row yet, by method.
    left
        How many there are in all.
    workers
        Who take them.
    size
        Tasks per chunk, instead of what is found.
    most
        Tasks per chunk that fit into a worker's memory.
    """

    def __init__(
        self,
        streams: Mapping[str, Iterable[Task]],
        *,
        left: int,
        workers: int,
        size: int | None = None,
        most: int = MAX_TASKS,
    ) -> None:
        self._streams = deque((method, iter(tasks)) for method, tasks in streams.items())
        self._left = left
        self._workers = workers
        self._size = size
        self._most = most
        self._fit: dict[str, int] = {}
        self._returned: deque[Chunk] = deque()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if self._returned:
            return self._returned.popleft()
        while self._streams:
            method, tasks = self._streams[0]
            taken = tuple(islice(tasks, self._size or self._wanted(method)))
            if taken:
                self._left -= len(taken)
                return Chunk(method, taken)
            self._streams.popleft()
        raise StopIteration

    def take_back(self, chunk: Chunk, reason: str) -> None:
        """Give out again, divided, what killed its workers; one task alone with the reason."""
        middle = len(chunk.tasks) // 2
        if not middle:
            self._returned.append(replace(chunk, lost=reason))
            return
        halves = chunk.tasks[:middle], chunk.tasks[middle:]
        self._returned += [Chunk(chunk.method, half) for half in halves]

    def learn(self, method: str, tasks: int, seconds: float) -> None:
        """Take into account how long a chunk took."""
        fit = int(tasks * PART_S / max(seconds, 1e-3))
        self._fit[method] = max(1, min(fit, _GROWTH * max(tasks, self._fit.get(method, 0))))

    def _wanted(self, method: str) -> int:
        share = -(-self._left // (PARTS_PER_WORKER * self._workers))
        return max(1, min(share, self._most, self._fit.get(method, FIRST_TASKS)))
