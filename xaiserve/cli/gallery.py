"""``xaiserve gallery``: every method on the same images in one picture."""

from pathlib import Path
from typing import Any

import click

from xaiserve.cli.options import SEED, model_options, named_source, pictures_in
from xaiserve.errors import InvalidInputError


@click.command(name="gallery")
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="IMAGE"
)
@model_options
@click.option("--methods", metavar="A,B", help="Methods, in this order; all of them by default.")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Where all randomness comes from."
)
@click.option(
    "--out",
    default="gallery.png",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The PNG to write.",
)
def command(
    images: tuple[Path, ...],
    methods: str | None,
    seed: int,
    out: Path,
    **model: Any,  # Any: click's values
) -> None:
    """Draw every method on the same images: a row per image, a column per method.

    A method that has no answer for an image says so in its place.
    """
    # Here, because they import torch.
    from xaiserve.cli.comparing import compared
    from xaiserve.explainers.registry import EXPLAINERS
    from xaiserve.models.loading import load_classifier
    from xaiserve.report.gallery import gallery
    from xaiserve.storage.pictures import encode_png

    names = [name.strip() for name in methods.split(",")] if methods else list(EXPLAINERS)
    name, source = named_source(model.pop("source"))
    classifier = load_classifier(source, name=name, **model)
    rows = compared(classifier, pictures_in(images), names, seed)
    try:
        out.write_bytes(encode_png(gallery(rows, names)))
    except OSError as error:
        raise InvalidInputError(f"--out {out} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {out}; images: {len(rows)}, methods: {len(names)}")
