"""``xaiserve explain``: photographs in; overlays, JSON and a page out."""

from pathlib import Path
from typing import Any

import click

from xaiserve.cli.options import (
    SEED,
    Pair,
    Range,
    Seconds,
    contrast_options,
    each_once,
    model_options,
    pictures_in,
)


@click.command(name="explain")
@click.argument(
    "photos",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PHOTO...",
)
@model_options
@click.option("--method", default="multirex", show_default=True, help="See 'xaiserve methods'.")
@click.option("--set", "options", multiple=True, type=Pair(), help="A parameter of the method.")
@click.option("--target", help="Class index or label; by default each photo's top class.")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Where all randomness comes from."
)
@click.option(
    "--frame",
    type=click.Choice(["model", "original"]),
    default="model",
    show_default=True,
    help="Masks, maps and overlays: of what the model saw, or of the original pixels.",
)
@click.option("--range", "value_range", type=Range(), help="Grey values that become 0 and 1.")
@click.option(
    "--context",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture that hidden pixels show, for methods that are told to (baseline=context).",
)
@contrast_options
@click.option("--max-inputs", type=click.IntRange(min=1), help="Model inputs per photo.")
@click.option("--max-seconds", type=Seconds(), help="Seconds per photo.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Processes that share the work of every photo, each with the model; 0 for this one.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where files go.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per photo.")
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **wishes: Any) -> None:  # Any: click's values
    """Explain photographs: files, or folders of them.

    Into --out go, per photo, NAME.overlay.png and NAME.json (masks, and the map's values),
    NAME.contrast.png where the method compares with a contrast picture, and explanations.json and
    report.html about all of them. Files of these names are replaced.

    A photo that cannot be read or explained is reported and the others go on; the exit code is
    then 1, or 2 where none could be read.
    """
    if wishes["out"] is None and not as_json:
        raise click.UsageError("Give --out DIR, or --json, or both.")
    # Here, because they import torch.
    from xaiserve.cli.explaining import Wish
    from xaiserve.cli.telling import run
    from xaiserve.explainers.preset_file import filled

    wishes["photos"] = tuple(pictures_in(wishes["photos"]))
    wishes["options"] = filled(wishes["method"], each_once(wishes["options"]))
    wishes["contrast_options"] = each_once(wishes["contrast_options"], "--contrast-set")
    ctx.exit(run(Wish(**wishes), as_json=as_json))
