"""Generated samples as a folder: pictures, twins, masks and manifests that name them."""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image as PillowImage

from xaiserve.data.sample import Grey, Mask, Sample
from xaiserve.errors import ConflictError
from xaiserve.storage.local import LocalStore
from xaiserve.storage.objects import ObjectStore

MANIFEST: Final = "manifest.csv"
"""Every picture."""

DISEASED: Final = "diseased.csv"
"""Only those with a ground truth: what a pointing game is played on."""

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
    contrast
        The same picture without any feature.
    features, feature_mask_uris
        Names of what was drawn and one mask each, joined by semicolons.
    feature_squares
        The squares of the 7 x 7 grid that each feature touches, as JSON.
    explanations
        The number of disjoint explanations that the construction promises; empty where unknown.
    """

    row_id: int
    uri: str
    sha256: str
    label: str
    mask_uri: str
    contrast: str
    features: str
    feature_mask_uris: str
    feature_squares: str
    explanations: int | None


def write_dataset(samples: Iterable[Sample], folder: Path) -> Path:
    """Write samples and the manifests.

    Pictures go to a folder per label, their twins under ``ideal``, masks under ``masks``.

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
    store = LocalStore(folder)
    write_manifests([write_sample(n, sample, store) for n, sample in enumerate(samples)], store)
    return manifest


def write_sample(row_id: int, sample: Sample, store: ObjectStore) -> ManifestRow:
    """Write the files of one sample; equal samples give equal files."""
    uri, contrast = f"{sample.label}/{sample.name}.png", f"ideal/{sample.name}.png"
    data = png(sample.image)
    store.write(uri, data)
    store.write(contrast, png(sample.ideal))
    mask_uri = _write_mask(sample.truth, store, sample.name) if sample.truth.any() else ""
    pieces = [
        _write_mask(feature.mask, store, f"{sample.name}-{feature.name.replace(' ', '-')}")
        for feature in sample.features
    ]
    squares = [sorted(feature.squares) for feature in sample.features]
    return ManifestRow(
        row_id=row_id,
        uri=uri,
        sha256=hashlib.sha256(data).hexdigest(),
        label=sample.label,
        mask_uri=mask_uri,
        contrast=contrast,
        features=SEPARATOR.join(feature.name for feature in sample.features),
        feature_mask_uris=SEPARATOR.join(pieces),
        feature_squares=json.dumps(squares, separators=(",", ":")) if squares else "",
        explanations=sample.explanations,
    )


def write_manifests(rows: Sequence[ManifestRow], store: ObjectStore) -> None:
    """Write the manifest of the rows with a ground truth, and then that of all."""
    store.write(DISEASED, to_csv([row for row in rows if row.mask_uri]))
    store.write(MANIFEST, to_csv(rows))


def to_csv(rows: Sequence[ManifestRow]) -> bytes:
    """Write rows as a manifest; `read_rows` reads it back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ManifestRow)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode()


def read_rows(manifest: bytes) -> list[ManifestRow]:
    """Read what `to_csv` wrote."""
    lines = io.StringIO(manifest.decode(), newline="")
    return [_row(found) for found in csv.DictReader(lines)]


def read_manifest(manifest: Path) -> list[ManifestRow]:
    """Read what `write_dataset` wrote."""
    return read_rows(manifest.read_bytes())


def _row(found: dict[str, str]) -> ManifestRow:
    texts = {key: text for key, text in found.items() if key not in {"row_id", "explanations"}}
    explanations = int(found["explanations"]) if found["explanations"] else None
    return ManifestRow(row_id=int(found["row_id"]), explanations=explanations, **texts)


def _write_mask(mask: Mask, store: ObjectStore, name: str) -> str:
    uri = f"masks/{name}.png"
    store.write(uri, png(np.where(mask, np.uint8(255), np.uint8(0))))
    return uri


def png(picture: Grey) -> bytes:
    """Encode a grey picture; equal pictures give equal bytes with one version of Pillow."""
    target = io.BytesIO()
    PillowImage.fromarray(picture).save(target, format="PNG")
    return target.getvalue()
