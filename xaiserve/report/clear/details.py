"""The JSON of a CLEAR explanation: where its fields are not simply those of the result."""

import base64
import dataclasses
from typing import Final

from PIL import Image as PillowImage

from xaiserve.explainers.clear_image.parts import Lattice, Neighbourhood, Segment
from xaiserve.explainers.clear_image.results import ClearExplanation
from xaiserve.report.clear.words import headline, summary
from xaiserve.report.drawing import Picture, to_picture
from xaiserve.report.subject import Document, Subject
from xaiserve.storage.pictures import encode_png
from xaiserve.storage.rle import mask_to_rle
from xaiserve.types import Region

TOLD: Final = frozenset(
    {
        *("contrast", "contrast_provider", "contrast_notes", "difference", "labels"),
        *("segments", "neighbourhood", "lattice"),
    }
)


def details(found: ClearExplanation, subject: Subject, *, whole: bool) -> Document:
    """Tell what `TOLD` names, and what was found in words.

    Segments carry their masks, so that there is no label map beside them. Pictures have the
    model's pixels, 8 bits each. They, the regression's rows and the lattice's probabilities come
    only with ``whole``.
    """
    label = subject.classifier.spec.labels[found.target]
    return {
        "headline": headline(found),
        "summary": list(summary(found, label)),
        "contrast": {
            "provider": found.contrast_provider,
            "notes": list(found.contrast_notes),
            "picture": _picture(to_picture(found.contrast.float() / 255), whole=whole),
        },
        "difference": {
            "mean": float(found.difference.float().mean()) / 255,
            "maximum": float(found.difference.max()) / 255,
            "picture": _picture(PillowImage.fromarray(found.difference.numpy()), whole=whole),
        },
        "segments": [_segment(one, found, subject) for one in found.segments],
        "neighbourhood": _neighbourhood(found.neighbourhood, whole=whole),
        "lattice": None if found.lattice is None else _lattice(found.lattice, whole=whole),
    }


def _picture(picture: Picture, *, whole: bool) -> Document:
    data = base64.b64encode(encode_png(picture)).decode() if whole else None
    return {
        "height": picture.height,
        "width": picture.width,
        "media_type": "image/png",
        "data": data,
    }


def _segment(one: Segment, found: ClearExplanation, subject: Subject) -> Document:
    """Tell one segment; its pixels are those of the document's frame."""
    mask = subject.mask(found.labels == one.id)
    own = {
        "area_px": int(mask.sum()),
        "area_fraction": int(mask.sum()) / mask.numel(),
        "box": _box(mask),
        "mask": mask_to_rle(mask),
    }
    return dataclasses.asdict(one) | own


def _box(mask: Region) -> list[int]:
    """Return top, left, bottom, right, ends exclusive; zeros for an empty mask."""
    rows, columns = (mask.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    if not rows:
        return [0, 0, 0, 0]
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def _neighbourhood(rows: Neighbourhood, *, whole: bool) -> Document:
    gaps = (rows.p - rows.p_regression).abs()
    values = {
        "shown": ["".join(map(str, mask)) for mask in rows.masks.tolist()],
        "weights": rows.weights.tolist(),
        "p": rows.p.tolist(),
        "p_regression": rows.p_regression.tolist(),
    }
    return {
        "rows": len(rows.p),
        "weight": float(rows.weights.sum()),
        "mean_error": float(gaps.mean()) if len(gaps) else None,
        "max_error": float(gaps.max()) if len(gaps) else None,
        "values": values if whole else None,
    }


def _lattice(lattice: Lattice, *, whole: bool) -> Document:
    return {
        "masks": len(lattice.p),
        "shapley": lattice.shapley.tolist(),
        "sufficient": [list(each) for each in lattice.sufficient],
        "counterfactuals": [list(each) for each in lattice.counterfactuals],
        "mean_error": lattice.mean_error,
        "max_error": lattice.max_error,
        "values": lattice.p.tolist() if whole else None,
    }
