"""``xaiserve gallery``: every method on the same images in one picture."""

from pathlib import Path
from typing import Any

import click

from xaiserve.cli.options import (
    SEED,
    contrast_options,
    each_once,
    filled_settings,
    model_options,
    named_source,
    pictures_in,
)
from xaiserve.errors import InvalidInputError


@click.command(name="gallery")
@click.argument(
    "images",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="IMAGE...",
)
@model_options
@click.option("--methods", metavar="A,B", help="Methods, in this order; all of them by default.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="METHOD.KEY=VALUE",
    help="A parameter, or METHOD.preset=NAME or FILE.",
)
@contrast_options
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
    *,
    images: tuple[Path, ...],
    methods: str | None,
    settings: tuple[str, ...],
    seed: int,
    out: Path,
    contrast: str | None,
    translator: str | None,
    contrast_options: tuple[tuple[str, str], ...],
    **model: Any,  # Any: click's values
) -> None:
    """Draw every method on the same images: a row per image, a column per method.

    A method that has no answer for an image says so in its place. Methods that compare with a
    contrast picture are drawn if it is said where those come from.
    """
    if out.suffix.lower() != ".png":
        raise InvalidInputError(f"--out must end in .png, got {out}")
    # Here, because they import torch.
    from xaiserve.cli.comparing import compared, drawable
    from xaiserve.contrast_use import check_contrast_use, contrasts_for
    from xaiserve.contrasts.opening import settings_of, settings_of_model
    from xaiserve.explainers.registry import make_explainer
    from xaiserve.models.loading import load_classifier
    from xaiserve.report.gallery import gallery
    from xaiserve.storage.pictures import encode_png

    told = settings_of(contrast, translator, each_once(contrast_options, "--contrast-set"))
    name, source = named_source(model.pop("source"))
    if methods:
        names = [name.strip() for name in methods.split(",")]
    else:
        names, left_out = drawable(told or settings_of_model(source))
        if left_out:
            without = ", ".join(left_out)
            click.echo(f"without {without}: give --translator or --contrast for it", err=True)
    options = filled_settings(settings, names)
    for each in options:
        if each not in names:
            raise InvalidInputError(f"--set is for {each}, which is not among {', '.join(names)}")
    explainers = [make_explainer(each, options.get(each)) for each in names]
    contrasts = contrasts_for(explainers, told, source)
    check_contrast_use(explainers, contrasts)
    classifier = load_classifier(source, name=name, **model)
    rows = compared(classifier, pictures_in(images), explainers, seed, contrasts)
    try:
        out.write_bytes(encode_png(gallery(rows, names)))
    except OSError as error:
        raise InvalidInputError(f"--out {out} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {out}; images: {len(rows)}, methods: {len(names)}")
