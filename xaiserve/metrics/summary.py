"""From one row per image, method and metric to the table that reports and terminals show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xaiserve.metrics.estimates import Estimate
from xaiserve.metrics.gathering import KEPT, Gathering
from xaiserve.metrics.grid_pointing import GridPointingGame
from xaiserve.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaiserve.perturb.rng import Keys

BASELINES: Final = ("chance", "centre")
"""Names of the blind methods, listed last; their rows come from a metric's baselines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One value of one metric; nothing is recomputed from an explanation.

    Parameters
    ----------
    class_name
        None of an image whose class could not be found, which has no value either.
    value
        None where there is a ``reason``.
    """

    image_id: str
    class_name: str | None
    method: str
    metric: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A metric as the table shows it.

    Parameters
    ----------
    hits
        The metric's values are hits and misses, so that Wilson's interval fits.
    """

    metric: str
    title: str
    hits: bool = False


POINTING: Final = (
    Column(PointingGame.measure.name, "hit rate", hits=True),
    Column(EnergyPointingGame.measure.name, "energy"),
    Column(GridPointingGame.measure.name, "grid"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one method over all images (micro) and over classes (macro)."""

    micro: Estimate | None
    macro: Estimate | None


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """One line of the table.

    Parameters
    ----------
    images
        Distinct images, scored or not.
    nulls
        Reasons and the number of image and class pairs that lack a metric for each, sorted.
    cells
        One per column.
    """

    method: str
    images: int
    nulls: tuple[tuple[str, int], ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The table: methods by name, then the baselines."""

    columns: tuple[Column, ...]
    classes: int
    methods: tuple[MethodSummary, ...]


def summarise(
    rows: Iterable[ScoreRow],
    keys: Keys,
    columns: Sequence[Column] = POINTING,
    kept: int = KEPT,
) -> Summary:
    """Aggregate rows as they come, in memory that does not grow with them; see `gathering`.

    Metrics without a column are left out. Equal rows and keys give equal summaries, bit for bit,
    and up to ``kept`` images so in any order. Every method is resampled with the same draws.

    Parameters
    ----------
    rows
        Those of one method and image one after the other, whatever is between them.
    """
    places = {column.metric: place for place, column in enumerate(columns)}
    by_method: dict[str, _Line] = {}
    classes = set[str | None]()
    for row in rows:
        if row.metric in places:
            if row.method not in by_method:
                by_method[row.method] = _Line(Gathering(len(columns), kept), places)
            by_method[row.method].add(row)
            classes.add(row.class_name)
    order = sorted(by_method, key=lambda method: (method in BASELINES, method))
    methods = tuple(
        _summarise(method, by_method[method].ended(), keys, columns) for method in order
    )
    return Summary(tuple(columns), len(classes - {None}), methods)


class _Line:
    """The rows of one method, of which those of one image and class make one entry."""

    def __init__(self, found: Gathering, places: Mapping[str, int]) -> None:
        self._found = found
        self._places = places
        self._open: list[ScoreRow] = []

    def add(self, row: ScoreRow) -> None:
        if self._open and (row.image_id, row.class_name) != _subject(self._open[0]):
            self._close()
        self._open.append(row)

    def ended(self) -> Gathering:
        self._close()
        return self._found

    def _close(self) -> None:
        values: list[float | None] = [None] * len(self._places)
        for row in self._open:
            values[self._places[row.metric]] = row.value
        reasons = {row.reason for row in self._open if row.value is None}
        self._found.add(*_subject(self._open[0]), values, reasons)
        self._open = []


def _subject(row: ScoreRow) -> tuple[str, str | None]:
    return row.image_id, row.class_name


def _summarise(
    method: str, found: Gathering, keys: Keys, columns: Sequence[Column]
) -> MethodSummary:
    return MethodSummary(
        method=method,
        images=found.images,
        nulls=tuple(sorted(found.nulls.items())),
        cells=tuple(_cell(found, place, column, keys) for place, column in enumerate(columns)),
    )


def _cell(found: Gathering, place: int, column: Column, keys: Keys) -> Cell:
    micro = found.hit_rate(place, keys) if column.hits else found.micro(place, keys)
    return Cell(micro, found.macro(place, keys))


def render_table(summary: Summary) -> str:
    """Lay the table out as aligned plain text, intervals in brackets.

    Means over classes get columns of their own when there are several classes.
    """
    by_class = summary.classes > 1
    head = ["method", "images"]
    for column in summary.columns:
        head += [column.title, f"{column.title} by class"] if by_class else [column.title]
    body = (_line(method, by_class) for method in summary.methods)
    lines = [[*head, "not scored"], *body]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _line(method: MethodSummary, by_class: bool) -> list[str]:
    cells = [
        _written(estimate)
        for cell in method.cells
        for estimate in ((cell.micro, cell.macro) if by_class else (cell.micro,))
    ]
    nulls = ", ".join(f"{count} {reason}" for reason, count in method.nulls)
    return [method.method, str(method.images), *cells, nulls or "0"]


def _written(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
