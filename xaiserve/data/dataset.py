"""Generated samples as a folder: pictures, masks and a manifest that names them."""

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image as PillowImage

from xaiserve.data.sample import Grey, Mask, Sample
from xaiserve.errors import ConflictError

MANIFEST: Final = "manifest.csv"
SEPARATOR: Final = ";"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One line of the manifest; paths are relative to its folder, with forward slashes.

    Parameters
    ----------
    row_id
        Number of the row, from 0.
    uri
        The picture, 8-bit grey PNG.
    sha256
        Of the picture's file.
    label
        Its class.
    mask_uri
        The ground truth, 8-bit PNG, 255 inside and 0 outside; empty where there is none.
    features, feature_mask_uris
        Names of what was drawn and one mask each, joined by semicolons.
    explanations
        The number of disjoint explanations that the construction promises; empty where unknown.
    """

    row_id: int
    uri: str
    sha256: str
    label: str
    mask_uri: str
    features: str
    feature_mask_uris: str
    explanations: int | None


def write_dataset(samples: Iterable[Sample], folder: Path) -> Path:
    """Write one PNG per sample under ``images``, its masks under ``masks``, and the manifest.

    Parameters
    ----------
    samples
        Taken one at a time; names must be unique.
    folder
        Made if absent. The manifest is written last, so a folder with a manifest is complete.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    ConflictError
        The folder already has a manifest.
    """
    manifest = folder / MANIFEST
    if manifest.exists():
        raise ConflictError(f"{folder} already holds a data set: {MANIFEST} exists")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = [_write_sample(row_id, sample, folder) for row_id, sample in enumerate(samples)]
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ManifestRow)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    manifest.write_text(text.getvalue(), encoding="utf-8", newline="")
    return manifest


def read_manifest(manifest: Path) -> list[ManifestRow]:
    """Read what `write_dataset` wrote."""
    with manifest.open(encoding="utf-8", newline="") as lines:
        return [_row(found) for found in csv.DictReader(lines)]


def _row(found: dict[str, str]) -> ManifestRow:
    texts = {key: text for key, text in found.items() if key not in {"row_id", "explanations"}}
    explanations = int(found["explanations"]) if found["explanations"] else None
    return ManifestRow(row_id=int(found["row_id"]), explanations=explanations, **texts)


def _write_sample(row_id: int, sample: Sample, folder: Path) -> ManifestRow:
    uri = f"images/{sample.name}.png"
    data = png(sample.image)
    (folder / uri).write_bytes(data)
    mask_uri = _write_mask(sample.truth, folder, sample.name) if sample.truth.any() else ""
    pieces = [
        _write_mask(feature.mask, folder, f"{sample.name}-{feature.name.replace(' ', '-')}")
        for feature in sample.features
    ]
    return ManifestRow(
        row_id=row_id,
        uri=uri,
        sha256=hashlib.sha256(data).hexdigest(),
        label=sample.label,
        mask_uri=mask_uri,
        features=SEPARATOR.join(feature.name for feature in sample.features),
        feature_mask_uris=SEPARATOR.join(pieces),
        explanations=sample.explanations,
    )


def _write_mask(mask: Mask, folder: Path, name: str) -> str:
    uri = f"masks/{name}.png"
    (folder / uri).write_bytes(png(np.where(mask, np.uint8(255), np.uint8(0))))
    return uri


def png(picture: Grey) -> bytes:
    """Encode a grey picture; equal pictures give equal bytes with one version of Pillow."""
    target = io.BytesIO()
    PillowImage.fromarray(picture).save(target, format="PNG")
    return target.getvalue()
