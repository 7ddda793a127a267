"""The card of a translator: what it was made from, how, and what it does."""

from collections.abc import Sequence
from typing import Final

from xaiserve.gan.images import Labels, Pictures
from xaiserve.gan.options import Preset
from xaiserve.gan.session import Outcome

_TEXT: Final = """# {title}

Redraws a picture of class `{first}` as one of class `{second}`, and back. A contrast GAN of the
kind of DeScarGAN (Wolleb et al., MICCAI 2020, arXiv 2007.14118), trained by the code of
`xaiserve train contrast-gan`. Not for diagnosis.

| data | |
| --- | --- |
| source | {source} |
| pictures to train on | {training} |
| pictures held out | {held_out} |
| skipped | {skipped} |

| training | |
| --- | --- |
| epochs | {epochs:.1f} of {wished} ({steps} steps of {batch} pictures, {ended}) |
| time | {minutes:.1f} minutes |
| network | {sizes} |
| losses | {losses} |
| optimiser | Adam, learning rate {rate:g} |
| steps of the critic per step of the generator | {critic_steps} |
| guide | {guide} |
| seed | {seed} |

| on the pictures held out | |
| --- | --- |
| mean change into the own class (0 is best) | {own_change:.4f} |
| mean change into the other class | {other_change:.4f} |
| the GAN's class head sees the other class in | {flipped:.1%} |
| the guide sees the other class in | {guided} |

Changes are in units of pictures in [0, 1]. Pictures are scaled by their own darkest and brightest
value, and resized to {side} x {side} and back. Statistics of normalisation are frozen, or those of
the picture alone, so that a picture is redrawn alike alone and in company.
"""


def card(
    preset: Preset,
    pictures: Pictures,
    held_out: Pictures,
    outcome: Outcome,
    *,
    seed: int,
    title: str = "Contrast GAN",
    source: str,
    guide: str = "",
) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    preset, pictures, held_out, outcome, seed
        Of the training.
    title, source
        What it is, and what the pictures are.
    guide
        Name of the classifier that guided the training; none if empty.
    """
    options, architecture = preset.options, preset.architecture
    guided = outcome.figures.guide_flipped
    return _TEXT.format(
        title=title,
        first=pictures.labels[0],
        second=pictures.labels[1],
        source=source,
        training=_counted(pictures.labels, pictures.counts),
        held_out=_counted(pictures.labels, held_out.counts),
        skipped=len(pictures.skipped),
        epochs=outcome.epochs,
        wished=options.epochs,
        steps=outcome.steps,
        batch=options.batch,
        ended="all done" if outcome.ended == "epochs" else "stopped by the time limit",
        minutes=outcome.seconds / 60,
        sizes=", ".join(f"{key} {value}" for key, value in architecture.to_json().items()),
        losses=", ".join(
            f"{name.removesuffix('_weight')} {getattr(options, name):g}"
            for name in sorted(options.__dataclass_fields__)
            if name.endswith("_weight") and (guide or name != "guide_weight")
        ),
        rate=options.learning_rate,
        critic_steps=options.critic_steps,
        guide=guide or "none",
        seed=seed,
        own_change=outcome.figures.own_change,
        other_change=outcome.figures.other_change,
        flipped=outcome.figures.flipped,
        guided="-" if guided is None else f"{guided:.1%}",
        side=architecture.side,
    )


def _counted(labels: Labels, counts: Sequence[int]) -> str:
    return ", ".join(f"{count} {label}" for label, count in zip(labels, counts, strict=True))
