"""How a method brings its own: what its JSON says, its pictures, and its part of a page.

Without any of this a method is shown by its map, and by its sets where it has such. One line in
`PRESENTERS` is enough for command line, service, jobs, gallery and pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from xaiserve.explainers.base import Explanation
from xaiserve.models.frame import Frame
from xaiserve.report.drawing import Picture
from xaiserve.report.panels import Panel
from xaiserve.report.subject import Document, Subject
from xaiserve.types import Region

Facts = tuple[tuple[str, str], ...]
"""Names and values as they are shown."""

PRESENTERS: Final[Mapping[str, str]] = {
    "clear-image": "xaiserve.report.clear.presenter:ClearPresenter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A method's part of a page about one image.

    Parameters
    ----------
    template
        It is included where the image is described.
    content
        What the template reads, as ``chapter``.
    facts
        Shown beside those of any method, and as columns of the table of all images.
    """

    template: str
    content: Mapping[str, Any]  # Any: whatever the template reads
    facts: Facts


@runtime_checkable
class Presenter(Protocol):
    """Tells and shows the explanations of one method."""

    tells: ClassVar[frozenset[str]]
    """Fields of the explanation that `details` tells; the others are told as any method's."""

    cells: ClassVar[tuple[int, ...]]
    """Places among the panels of those that stand in a gallery, beside the map."""

    def details(self, explanation: Any, subject: Subject, *, whole: bool) -> Document:
        """Tell what is in ``details`` of the JSON; long rows and pictures only when ``whole``."""
        ...

    def panels(
        self,
        explanation: Any,  # Any: of the method's own type
        picture: Picture,
        *,
        frame: Frame | None,
        truth: Region | None,
    ) -> tuple[Panel, ...]:
        """Draw.

        Parameters
        ----------
        picture
            What is drawn on.
        frame
            Carries the explanation to the pixels of ``picture``; none where those are the model's.
        truth
            Ground truth in the pixels of ``picture``, to be outlined.
        """
        ...

    def chapter(self, details: Document) -> Chapter:
        """Lay out ``details`` of the JSON for a page."""
        ...

    def headline(self, explanation: Any) -> str:
        """Say in a line what was found."""
        ...


@cache
def presenter_named(method: str) -> Presenter | None:
    """Find what shows a method's explanations; none for most."""
    if method not in PRESENTERS:
        return None
    module, _, name = PRESENTERS[method].partition(":")
    found: Presenter = getattr(import_module(module), name)()
    return found


def presenter_of(explanation: Explanation) -> Presenter | None:
    """Find what shows an explanation."""
    return presenter_named(explanation.explainer)
