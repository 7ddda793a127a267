"""The files of ``xaiserve explain``: per photo an overlay and a JSON, and two about all of them."""

import json
from pathlib import Path
from typing import Final

from xaiserve.cli.explaining import Result
from xaiserve.errors import InvalidInputError
from xaiserve.report.document import without_bulk
from xaiserve.report.drawing import to_picture
from xaiserve.report.overlays import rgb, sketch
from xaiserve.report.page import Shown, embeddable, explain_page, figures
from xaiserve.report.panels import draw
from xaiserve.report.subject import Document, FrameName
from xaiserve.storage.pictures import decode, encode_png

SHOWN: Final = 100
"""Images on the page: each takes it about 150 KB; all have files of their own."""

_ORIGINAL_SIDE_PX: Final = 480
_OVERLAY_SIDE_PX: Final = 1400
_FIGURE_SIDE_PX: Final = 640


class Files:
    """Write results into a folder, replacing files of the same names only.

    Raises
    ------
    InvalidInputError
        The folder cannot be made.
    """

    def __init__(self, folder: Path, frame: FrameName) -> None:
        self._folder = folder
        self._frame = frame
        self._names: set[str] = set()
        self._documents: list[Document] = []
        self._failures: list[Document] = []
        self._shown: list[Shown] = []
        self._explained = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(f"--out {folder} cannot be made: {error.strerror}") from error

    def add(self, result: Result, document: Document) -> None:
        """Write the files of one photo."""
        name = self._free_name(result.path.stem)
        self._write_contrast(result, name)
        if result.case is None or result.explanation is None:
            self._failures.append(document)
            self._documents.append(document)
            return
        # Read again rather than kept: many photos may be in flight.
        original = decode(result.path.read_bytes()).image
        under = original if self._frame == "original" else None
        found = sketch(result.case, result.explanation, original=under)
        overlay = draw(found)
        (self._folder / f"{name}.overlay.png").write_bytes(encode_png(overlay))
        (self._folder / f"{name}.json").write_text(json.dumps(document, allow_nan=False))
        self._documents.append(without_bulk(document) | {"file": f"{name}.json"})
        self._explained += 1
        if len(self._shown) < SHOWN:
            self._shown.append(
                Shown(
                    document=without_bulk(document, keep={"values"}),
                    original=embeddable(rgb(original), _ORIGINAL_SIDE_PX),
                    overlay=embeddable(overlay, _OVERLAY_SIDE_PX),
                    figures=figures(found.panels, _FIGURE_SIDE_PX),
                )
            )

    def _write_contrast(self, result: Result, name: str) -> None:
        """Write the contrast picture, also where it is why there is no explanation."""
        if result.case is not None and result.case.contrast is not None:
            picture = encode_png(to_picture(result.case.contrast.image))
            (self._folder / f"{name}.contrast.png").write_bytes(picture)

    def close(self) -> str:
        """Write what is about all photos, and say what was written."""
        (self._folder / "explanations.json").write_text(
            json.dumps(self._documents, allow_nan=False, indent=1)
        )
        left_out = self._explained - len(self._shown)
        page = explain_page(self._shown, self._failures, left_out=left_out)
        (self._folder / "report.html").write_text(page, encoding="utf-8")
        common = f"explanations.json and report.html to {self._folder}"
        if not self._explained:
            return common
        overlays = f"{self._explained} overlay{'s' if self._explained > 1 else ''}"
        return f"{overlays} (NAME.overlay.png) with NAME.json, {common}"

    def _free_name(self, stem: str) -> str:
        """Take the photo's name; a second photo of that name gets a number, in input order."""
        name, count = stem, 1
        while name in self._names or name == "explanations":
            count += 1
            name = f"{stem}-{count}"
        self._names.add(name)
        return name
