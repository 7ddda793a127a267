"""`ClearPresenter`: how explanations of CLEAR Image are told and shown."""

from dataclasses import dataclass
from typing import ClassVar

from xaiserve.explainers.clear_image import ClearExplanation
from xaiserve.models.frame import Frame
from xaiserve.report.clear.chapter import chapter
from xaiserve.report.clear.details import TOLD, details
from xaiserve.report.clear.pictures import SEGMENTS_PLACE, panels
from xaiserve.report.clear.words import headline
from xaiserve.report.drawing import Picture
from xaiserve.report.panels import Panel
from xaiserve.report.presenting import Chapter
from xaiserve.report.subject import Document, Subject
from xaiserve.types import Region


@dataclass(frozen=True, slots=True)
class ClearPresenter:
    """See `xaiserve.report.presenting.Presenter`."""

    tells: ClassVar[frozenset[str]] = TOLD
    cells: ClassVar[tuple[int, ...]] = (SEGMENTS_PLACE,)

    def details(self, explanation: ClearExplanation, subject: Subject, *, whole: bool) -> Document:
        """Tell it in JSON."""
        return details(explanation, subject, whole=whole)

    def panels(
        self,
        explanation: ClearExplanation,
        picture: Picture,
        *,
        frame: Frame | None,
        truth: Region | None,
    ) -> tuple[Panel, ...]:
        """Draw image, contrast, difference, segments, and what flips the decision."""
        return panels(explanation, picture, frame=frame, truth=truth)

    def chapter(self, details: Document) -> Chapter:
        """Lay it out for a page."""
        return chapter(details)

    def headline(self, explanation: ClearExplanation) -> str:
        """Say the first counterfactual and the sufficient causes."""
        return headline(explanation)
