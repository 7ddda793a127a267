"""The part of a page that is about one CLEAR explanation; it reads the JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xaiserve.report.charts import Mark, scatter, signed_bars
from xaiserve.report.clear.words import contrast_name, up_to
from xaiserve.report.presenting import Chapter, Facts
from xaiserve.report.shares import share_of
from xaiserve.report.subject import Document

BARS: Final = 10
"""Largest importances in the chart; segments of counterfactuals are in it in any case."""

_SCORES: Final = {"aic": "AIC", "pseudo-r2": "pseudo R²", "adjusted-r2": "adjusted R²"}
_KINDS: Final = {
    "high": "strong difference",
    "low": "weak, extended difference",
    "superpixel": "superpixel",
    "supplied": "given",
    "background": "all that is in no segment",
}
_DECISIONS: Final = {
    "boundary": "the probability reaches {boundary}",
    "argmax": "it is the class ranked first",
    "threshold": "the probability reaches the class's own threshold, {boundary}",
}

Row = dict[str, Any]  # Any: what the template reads


def chapter(details: Document) -> Chapter:
    """Lay out the ``details`` of a CLEAR explanation."""
    content = {
        "summary": details["summary"],
        "warnings": details["warnings"],
        "counterfactuals": [_counterfactual(one) for one in details["counterfactuals"]],
        "sets": up_to(details["counterfactual_depth"]),
        "fidelity": [_number(details[f"fidelity_{kind}"]) for kind in ("mean", "max")],
        "causes": list(_causes(details)),
        "tau": f"{details['tau']:g}",
        "equation": _equation(details["regression"]),
        "regression": _regression(details),
        "segments": _segments(details),
        "bars": signed_bars(_importances(details)),
        "points": _points(details),
        "errors": _errors(details["neighbourhood"]),
        "lattice": _lattice(details["lattice"]),
        "settings": _settings(details),
    }
    return Chapter(template="clear.html", content=content, facts=_facts(details))


def _facts(details: Document) -> Facts:
    found = details["counterfactuals"]
    return (
        ("contrast", f"{details['contrast']['provider']} {_number(details['p0'])}"),
        ("segments", str(len(details["segments"]) - 1)),
        ("counterfactuals", str(len(found))),
        ("largest fidelity error", _number(details["fidelity_max"]) if found else "-"),
        ("overdetermined", _yes(details["overdetermined"])),
    )


def _counterfactual(one: Document) -> Row:
    return {
        "segments": _names(one["segments"]),
        "p": _number(one["p"]),
        "predicted": _number(one["p_regression"]),
        "error": _number(one["fidelity_error"]),
    }


def _causes(details: Document) -> Iterator[Row]:
    """Put the model's and the regression's answers side by side, one set of segments a row."""
    asked = {tuple(one["segments"]): one["p"] for one in details["sufficient_verified"]}
    said = {tuple(one["segments"]): one["p"] for one in details["sufficient_regression"]}
    alone = {(one["id"],): one["p_alone"] for one in details["segments"]}
    for segments in sorted({*asked, *said}, key=lambda each: (len(each), each)):
        yield {
            "segments": _names(segments),
            "verified": _yes(segments in asked),
            "p": _number(asked.get(segments, alone.get(segments))),
            "regression": _yes(segments in said),
            "p_regression": _number(said.get(segments)),
        }


def _equation(regression: Document) -> str:
    """Write the sum with two significant digits, ``x1`` being 1 where segment 1 is shown."""
    parts = [f"{regression['intercept']:.2g}"]
    for term in regression["terms"]:
        bits = " ".join(f"x{segment}" for segment in term["segments"])
        parts.append(f"{'-' if term['weight'] < 0 else '+'} {abs(term['weight']):.2g} {bits}")
    total = " ".join(parts)
    return f"1 / (1 + exp(-({total})))" if regression["kind"] == "logistic" else total


def _regression(details: Document) -> Facts:
    found = details["regression"]
    return (
        (f"{_SCORES[found['score_type']]} that chose the terms", f"{found['score']:.4g}"),
        ("on the model's side of the decision", f"{found['accuracy']:.1%} of the weight"),
        ("for the image itself", f"{_number(found['p'])}, the model {_number(details['p1'])}"),
    )


def _segments(details: Document) -> list[Row]:
    lattice = details["lattice"]
    shapley = [None] * len(details["segments"]) if lattice is None else lattice["shapley"]
    return [
        {
            "name": _name(one["id"]),
            "kind": _KINDS[one["kind"]],
            "area": share_of(one["area_fraction"]),
            "difference": _number(one["mean_difference"]),
            "weight": _signed(one["weight"]),
            "importance": _signed(one["importance"]),
            "without": _number(one["p_without"]),
            "alone": _number(one["p_alone"]),
            "shapley": "-" if exact is None else f"{exact:+.3f}",
        }
        for one, exact in zip(details["segments"], shapley, strict=True)
    ]


def _importances(details: Document) -> list[tuple[str, float]]:
    """List the largest importances, and those of counterfactuals, largest first."""
    by_size = sorted(details["segments"], key=lambda one: (-abs(one["importance"]), one["id"]))
    turning = {segment for one in details["counterfactuals"] for segment in one["segments"]}
    return [
        (_name(one["id"]), one["importance"])
        for place, one in enumerate(by_size)
        if (place < BARS and one["importance"]) or one["id"] in turning
    ]


def _points(details: Document) -> object:
    """Lay out the rows of the regression; nothing where the JSON came without them."""
    rows = details["neighbourhood"]["values"]
    if rows is None:
        return None
    marks = _marks(details)
    given = zip(rows["shown"], rows["p"], rows["p_regression"], strict=True)
    return scatter(
        [
            (p, said, marks.get(shown, "row"), f"{_replaced(shown)}: {p:.3f}, predicted {said:.3f}")
            for shown, p, said in given
        ]
    )


def _marks(details: Document) -> Mapping[str, Mark]:
    every = range(len(details["segments"]))
    marks: dict[str, Mark] = {"1" * len(every): "image", "0" * len(every): "contrast"}
    for one in details["counterfactuals"]:
        marks["".join("0" if segment in one["segments"] else "1" for segment in every)] = (
            "counterfactual"
        )
    return marks


def _replaced(shown: str) -> str:
    gone = [_name(segment) for segment, bit in enumerate(shown) if bit == "0"]
    if not gone:
        return "the image"
    return "the contrast picture" if len(gone) == len(shown) else f"without {', '.join(gone)}"


def _errors(neighbourhood: Document) -> str:
    return (
        f"{neighbourhood['rows']} distinct combinations of segments; between regression and model "
        f"lie {_number(neighbourhood['mean_error'])} on average and "
        f"{_number(neighbourhood['max_error'])} at most"
    )


def _lattice(lattice: Document | None) -> Row | None:
    if lattice is None:
        return None
    return {
        "masks": lattice["masks"],
        "turning": [_names(each) for each in lattice["counterfactuals"]],
        "enough": [_names(each) for each in lattice["sufficient"]],
        "mean_error": _number(lattice["mean_error"]),
        "max_error": _number(lattice["max_error"]),
    }


def _settings(details: Document) -> Facts:
    contrast, cut = details["contrast"], details["segmentation"]
    values = [f"{name} {value}" for name, value in cut.items() if value is not None]
    boundary = f"{details['boundary']:g}"
    return (
        ("contrast picture", contrast_name(contrast["provider"], contrast["notes"])),
        ("mode", details["mode"]),
        ("keeps the label if", _DECISIONS[details["decision"]].format(boundary=boundary)),
        ("segmentation", ", ".join(each.replace("_", " ") for each in values)),
        ("leakage", f"{details['leakage']:.1%} of the difference outside the segments"),
        ("questions", f"{details['queries_issued']}, {details['queries_distinct']} of them new"),
    )


def _names(segments: Sequence[int]) -> str:
    return ", ".join(_name(each) for each in segments) if segments else "no segment at all"


def _name(segment: int) -> str:
    return str(segment) if segment else "background"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.2f}" if value else "0"


def _yes(holds: object) -> str:
    return "yes" if holds else "no"
