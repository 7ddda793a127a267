"""What is made of the roots: the largest family that hardly overlaps, and the graph below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xaiserve.explainers.baselines.sag.beam import Patches, Patchwork, without
from xaiserve.perturb.plan import Progress, QueryPlan, Stop


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Node:
    """A set of patches in the graph and the target's score for it alone."""

    patches: tuple[int, ...]
    confidence: float


Graph = tuple[tuple[Node, ...], tuple[tuple[int, int], ...]]
"""Sets, each once, and edges: indices of a set and of the same without one patch."""


def graph(
    patchwork: Patchwork, roots: Sequence[Patches], *, bound: float, children: int
) -> QueryPlan[Graph]:
    """Take one patch from every set whose score is above ``bound``, and so on from there.

    As in the published code only the first ``children`` patches of a set are taken, and the last
    one never is. What has grown when it must stop is returned.
    """
    places: dict[Patches, int] = {}
    nodes: list[Node] = []
    edges: list[tuple[Patches, Patches]] = []
    level = list(roots)
    try:
        while level:
            verified = yield from patchwork.verify(level)
            for one, found in zip(level, verified, strict=True):
                places[one] = len(nodes)
                nodes.append(Node(patches=one, confidence=found.confidence))
            yield Progress("graph", len(nodes))
            open_sets = [node.patches for node in nodes[-len(level) :] if node.confidence > bound]
            new = [(one, less) for one in open_sets for less in smaller(one, children)]
            edges += new
            level = list(dict.fromkeys(less for _, less in new if less not in places))
    except Stop:
        edges = [(one, less) for one, less in edges if less in places]
    return tuple(nodes), tuple((places[one], places[less]) for one, less in edges)


def smaller(one: Patches, children: int) -> list[Patches]:
    """List a set without each of its first patches; nothing for a set of one."""
    return [without(one, patch) for patch in one[:children]] if len(one) > 1 else []


def largest_family(roots: Sequence[Patches], shared: int) -> tuple[int, ...]:
    """Find the most roots of which no two share more than ``shared`` patches, exactly.

    Of several largest families the lexicographically first; roots without patches never enter.
    Depth first, with the number of groups that all clash among themselves as bound.
    """
    full = [index for index, one in enumerate(roots) if one]
    clashes = {i: {j for j in full if j != i and clash(roots[i], roots[j], shared)} for i in full}
    best: tuple[int, ...] = ()

    def search(chosen: tuple[int, ...], left: list[int]) -> None:
        nonlocal best
        if len(chosen) > len(best):
            best = chosen
        for place, index in enumerate(left):
            if len(chosen) + groups(left[place:], clashes) <= len(best):
                return
            rest = [other for other in left[place + 1 :] if other not in clashes[index]]
            search((*chosen, index), rest)

    search((), full)
    return best


def clash(one: Patches, other: Patches, shared: int) -> bool:
    """Say whether two sets share more than ``shared`` patches."""
    return len({*one} & {*other}) > shared


def groups(indices: Sequence[int], clashes: Mapping[int, set[int]]) -> int:
    """Count groups whose members all clash: a family has at most one of each."""
    found: list[list[int]] = []
    for index in indices:
        for group in found:
            if clashes[index].issuperset(group):
                group.append(index)
                break
        else:
            found.append([index])
    return len(found)
