"""One search of the many that make a responsibility map, from its first cut to its end."""

from xaiserve.explainers.multirex.boxes import BoxNode, Splitter
from xaiserve.explainers.multirex.frontier import Areas, Frontier, Held, Tool
from xaiserve.explainers.multirex.mutants import SUBSETS, Split, Table
from xaiserve.explainers.multirex.options import MultiRexOptions


class Iteration:
    """One search: its frontier, the mutants it has used, the deepest level that passed."""

    def __init__(
        self, number: int, root: BoxNode, splitter: Splitter, options: MultiRexOptions
    ) -> None:
        self._frontier: Frontier = (
            Held(number, root, splitter)
            if options.frontier == "held"
            else Tool(number, root, splitter, options)
        )
        self._limit = options.search_limit
        self._cut: dict[str, BoxNode] = {}
        self._root = root
        self.splits: list[Split] = []
        self.used = 0
        self.depth = 0

    def prepare(self) -> bool:
        """List the splits of the next round; false when the search has ended."""
        room = None if self._limit is None else self._limit - self.used
        self.splits = [] if room is not None and room < 0 else self._frontier.splits(room)
        return bool(self.splits)

    def learn(self, passes: Table, areas: Areas) -> None:
        """Take the verdicts of the round."""
        self.used += len(SUBSETS) * len(self.splits)
        for split, verdicts in zip(self.splits, passes[:, : len(SUBSETS)], strict=True):
            self._cut[split.node.path] = split.node
            if verdicts.any():
                self.depth = max(self.depth, split.node.depth + 1)
        self._frontier.learn(self.splits, passes, areas)

    def mean_area(self) -> float:
        """Average the boxes on the deepest level that passed; the root's when none did."""
        if self.depth == 0:
            return float(self._root.area)
        parents = [node.area for node in self._cut.values() if node.depth == self.depth - 1]
        return sum(parents) / (4 * len(parents))

    def certificates(self) -> tuple[int, ...]:
        return tuple(self._frontier.certificates) if isinstance(self._frontier, Held) else ()
