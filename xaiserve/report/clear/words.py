"""What CLEAR Image has found, in sentences."""

from collections.abc import Iterator, Sequence
from typing import Final

from xaiserve.explainers.clear_image.parts import (
    Counterfactual,
    Lattice,
    SegmentSet,
    SufficientCause,
)
from xaiserve.explainers.clear_image.results import ClearExplanation

SENTENCES: Final = 3
"""Counterfactuals that have a sentence; all are in the table."""


def headline(found: ClearExplanation) -> str:
    """Say in a line: ``replace segments 2 and 5: 0.930 -> 0.310, predicted 0.290; ...``."""
    parts = [_shortest(found)]
    if len(found.counterfactuals) > 1:
        parts.append(f"{len(found.counterfactuals)} counterfactuals")
    parts.append(_causes_line(deciding_causes(found)))
    if found.flags:
        parts.append(f"flags: {', '.join(found.flags)}")
    return "; ".join(parts)


def summary(found: ClearExplanation, label: str) -> Iterator[str]:
    """Say in sentences what the model gives, what turns it, and what is enough for it."""
    if found.ending == "stopped":
        yield "A budget was spent: the regression rests on the masks scored until then."
    yield (
        f"The model gives {label} {found.p1:.3f}, and {found.p0:.3f} for the contrast picture "
        f"({found.contrast_provider})."
    )
    yield from _turns(found)
    yield from _enough(deciding_causes(found), found.tau)
    if found.lattice is not None:
        yield _exact(found.lattice, found.tau)


def contrast_name(provider: str, notes: Sequence[str]) -> str:
    """Name where a contrast picture comes from, with what is known of it."""
    return ": ".join([provider, *(["; ".join(notes)] if notes else [])])


def deciding_causes(found: ClearExplanation) -> tuple[SufficientCause, ...]:
    """Return the sufficient causes that the mode believes: verified, or the regression's."""
    return found.sufficient_regression if found.mode == "parity" else found.sufficient_verified


def named(segments: SegmentSet) -> str:
    """Write ``segment 2``, ``segments 2 and 5``, or ``the background``."""
    if segments == (0,):
        return "the background"
    words = listed([str(each) if each else "the background" for each in segments])
    return f"segment{'s' * (len(segments) > 1)} {words}"


def listed(words: Sequence[str]) -> str:
    """Write ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def up_to(depth: int) -> str:
    """Say how many segments were replaced together in the search."""
    return "one segment" if depth == 1 else f"up to {depth} segments"


def _shortest(found: ClearExplanation) -> str:
    if not found.counterfactuals:
        return f"no counterfactual of {up_to(found.counterfactual_depth)}"
    first = found.counterfactuals[0]
    return (
        f"replace {named(first.segments)}: {found.p1:.3f} -> {first.p:.3f}, "
        f"predicted {first.p_regression:.3f}"
    )


def _causes_line(causes: Sequence[SufficientCause]) -> str:
    if not causes:
        return "no sufficient cause"
    single = [each.segments[0] for each in causes if len(each.segments) == 1]
    if len(single) > 1:
        return f"overdetermined: {named(tuple(single))} each suffice"
    how = "sufficient" if single else "sufficient together"
    return f"{how}: {', '.join(named(each.segments) for each in causes)}"


def _turns(found: ClearExplanation) -> Iterator[str]:
    told = found.counterfactuals
    if not told:
        yield (
            f"No set of {up_to(found.counterfactual_depth)} turns the decision when replaced by "
            "the contrast picture."
        )
        return
    yield from (_turn(each, found.p1) for each in told[:SENTENCES])
    if len(told) > SENTENCES:
        yield f"{len(told) - SENTENCES} more such sets are in the table."
    assert found.fidelity_mean is not None  # noqa: S101 -- there are counterfactuals
    assert found.fidelity_max is not None  # noqa: S101
    off = f"{found.fidelity_mean:.3f} on average and {found.fidelity_max:.3f} at most"
    yield f"There the regression is off by {off if len(told) > 1 else f'{found.fidelity_max:.3f}'}."


def _turn(one: Counterfactual, p1: float) -> str:
    return (
        f"Replacing {named(one.segments)} by the contrast picture turns the decision: {p1:.3f} "
        f"becomes {one.p:.3f} (the regression predicted {one.p_regression:.3f})."
    )


def _enough(causes: Sequence[SufficientCause], tau: float) -> Iterator[str]:
    single = [each.segments[0] for each in causes if len(each.segments) == 1]
    shown = f"shown alone, all else being the contrast picture, the probability reaches {tau:g}"
    if len(single) > 1:
        yield (
            f"The classification is causally overdetermined: {named(tuple(single))} are each "
            f"enough ({shown})."
        )
        return
    if single:
        yield f"{named((single[0],)).capitalize()} is enough by itself ({shown})."
    elif causes:
        pairs = "; ".join(named(each.segments) for each in causes)
        yield f"No single segment is enough, these pairs are: {pairs} ({shown})."
    else:
        yield f"Neither a segment nor a pair of segments is enough by itself for {tau:g}."
    yield "The classification is not causally overdetermined."


def _exact(lattice: Lattice, tau: float) -> str:
    """Say what the exact answers add."""
    turning, enough = (
        "; ".join(named(each) if each else "no segment at all" for each in sets) or "none"
        for sets in (lattice.counterfactuals, lattice.sufficient)
    )
    return (
        f"Exact, from all {len(lattice.p)} combinations of segments: smallest sets whose "
        f"replacement turns the decision: {turning}; smallest sets that alone reach {tau:g}: "
        f"{enough}."
    )
