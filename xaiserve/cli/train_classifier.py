"""``xaiserve train classifier``: a model folder from folders of pictures, or from a manifest."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import click
from tqdm import tqdm

from xaiserve.cli.options import SEED, Pair, each_once, named_source
from xaiserve.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:  # the list of commands must not import torch
    from xaiserve.training.classifier import ClassifierTraining
    from xaiserve.training.pictures import Labelled
    from xaiserve.training.running import Trained

SKIPPED_SHOWN: Final = 10


@click.command(name="classifier")
@click.option(
    "--images",
    multiple=True,
    metavar="[NAME=]URI",
    help="Folder or s3:// prefix of one class, named after the folder; several may share a NAME.",
)
@click.option("--manifest", help="Manifest (csv, json, ...) with columns uri and label, instead.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model folder to make.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of weights and batches.")
@click.option(
    "--preset",
    type=click.Choice(["cpu", "paper"]),
    default="cpu",
    show_default=True,
    help="A small network for a CPU, or DenseNet-121 for a GPU.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the pictures, not steps.")
@click.option(
    "--set",
    "settings",
    type=Pair(),
    multiple=True,
    metavar="KEY=VALUE",
    help="side, channels, steps, batch, learning_rate, flips, shares, test_share or network.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch [all cores].")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    *,
    images: Sequence[str],
    manifest: str | None,
    out: Path,
    seed: int,
    preset: str,
    epochs: int | None,
    settings: Sequence[tuple[str, str]],
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train a small classifier and write it as ONNX and safetensors, ready for every command.

    A tenth of the pictures is set aside to measure accuracy. Files that cannot be read are named
    and left out.
    """
    import torch

    from xaiserve.models.torch_classifier import resolve_device
    from xaiserve.training.running import train_classifier

    if bool(images) == bool(manifest):
        raise InvalidInputError("give either --images, at least twice, or --manifest")
    listed = _from_manifest(manifest) if manifest else _from_folders(images)
    options = _options(preset, settings, epochs, len(listed))
    place = resolve_device(device)
    _check_out(out)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    with (
        tqdm(total=len(listed), desc="reading", unit="picture", disable=None) as reading,
        tqdm(total=options.steps, desc="training", unit="step", disable=None) as training,
    ):

        def step(_number: int, loss: float) -> None:
            training.update()
            training.set_postfix(loss=f"{loss:.3f}", refresh=False)

        found = train_classifier(
            listed,
            options,
            out,
            seed=seed,
            device=place,
            on_picture=reading.update,
            on_step=step,
        )
    click.echo(_as_json(found, out) if as_json else _told(found, out))


def _options(
    preset: str, settings: Sequence[tuple[str, str]], epochs: int | None, pictures: int
) -> "ClassifierTraining":
    from xaiserve.parameters import parse_options
    from xaiserve.training.classifier import PRESETS, ClassifierTraining

    texts = each_once(settings)
    if epochs is not None and "steps" in texts:
        raise InvalidInputError("give either --epochs or --set steps, not both")
    try:
        given: dict[str, Any] = parse_options(ClassifierTraining, texts)  # Any: by option
        options = replace(PRESETS[preset], **given)
        if epochs is None:
            return options
        shown = epochs * pictures * (1 - options.test_share)
        return replace(options, steps=max(1, round(shown / options.batch)))
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def _from_folders(images: Sequence[str]) -> "list[Labelled]":
    from xaiserve.storage.opening import list_pictures
    from xaiserve.training.pictures import Labelled

    found = []
    for text in images:
        name, source = named_source(text)
        label = name or PurePosixPath(source.rstrip("/")).name
        found += [Labelled(uri, label) for uri in list_pictures(source)]
    return found


def _from_manifest(manifest: str) -> "list[Labelled]":
    from xaiserve.storage.images import expand
    from xaiserve.training.pictures import Labelled

    rows = expand(manifest)
    for row in rows:
        if row.target is None:
            raise InvalidInputError(f"manifest {manifest}: row {row.row_id!r} has no label")
    return [Labelled(row.uri, row.target or "") for row in rows]


def _check_out(out: Path) -> None:
    from xaiserve.training.running import RECORD

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / RECORD).exists())):
        raise ConflictError(f"--out {out} holds something else than a classifier trained here")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        if not any(out.iterdir()):  # made when there is something to put there
            out.rmdir()
    except OSError as error:
        raise InvalidInputError(f"--out {out} cannot be written: {error.strerror}") from error


def _as_json(found: "Trained", out: Path) -> str:
    return json.dumps(
        {
            "out": str(out),
            "test": found.test.to_json(),
            "skipped": [{"uri": one.uri, "reason": one.reason} for one in found.skipped],
        }
    )


def _told(found: "Trained", out: Path) -> str:
    lines = [f"skipped {one.uri}: {one.reason}" for one in found.skipped[:SKIPPED_SHOWN]]
    if found.skipped:
        lines.append(f"{len(found.skipped)} files could not be read and were left out")
    lines += [
        f"{label}: {right} of {count} pictures set aside are told right"
        for label, right, count in zip(
            found.test.labels, found.test.correct, found.test.pictures, strict=True
        )
    ]
    lines.append(
        f"accuracy {found.test.accuracy:.4f}, mean over classes {found.test.balanced_accuracy:.4f}"
    )
    return "\n".join([*lines, f"model  {out}"])
