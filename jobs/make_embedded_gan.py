"""Make the embedded translator from a seed: train on planted lesions, measure, write the folder.

python jobs/make_embedded_gan.py --work out/gan --out xaiserve/data/embedded_translator
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from xaiserve.data.planted import planted_samples
from xaiserve.data.sample import Sample
from xaiserve.gan.card import card
from xaiserve.gan.guide import guide_of
from xaiserve.gan.images import pictures_of
from xaiserve.gan.options import PRESETS, with_settings
from xaiserve.gan.session import Habits, Session
from xaiserve.gan.training import Step
from xaiserve.gan.translator import GanTranslator, load_translator, write_translator
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.rng import Keys
from xaiserve.storage.opening import open_store
from xaiserve.types import Images

LABELS = ("healthy", "diseased")
PICTURES = 1200
TEST_SEED = 2_000_000
"""Far from any training seed: no test picture is in the training pool."""

PRESET = with_settings(
    PRESETS["cpu"],
    {
        "side": "224",
        "fold": "8",
        "width": "24",
        "depth": "2",
        "critic_width": "4",
        "epochs": "12",
        "batch": "8",
        "critic_steps": "2",
        "learning_rate": "5e-4",
        # A lesion stands on its square: upside down it would be nothing that the pictures show.
        "decay": "0.5",
        "flip_vertical": "0",
        # Whoever must draw the lesion again from its absence had better leave a trace of it: a
        # small weight, or lesions are not removed but darkened.
        "reconstruction_weight": "5",
        "adversarial_weight": "5",
        "change_weight": "10",
    },
)

FIGURES = """
| on {count} fresh diseased pictures ({healthy} healthy ones) | |
| --- | --- |
| the embedded classifier sees them healthy after translation | {flipped:.1%} |
| mean absolute difference from the ideal healthy twin | {error:.4f} |
| the same of the picture before translation | {before:.4f} |
| mean absolute difference from the twin within lesions | {inside:.4f} |
| the same before translation | {inside_before:.4f} |
| mean absolute change outside lesions | {outside:.4f} |
| mean absolute change of healthy pictures into healthy | {own:.4f} |
| the embedded classifier sees healthy pictures diseased after translation | {made_ill:.1%} |

Made by `python jobs/make_embedded_gan.py --seed {seed}` on {threads} thread; the guide is the
classifier that xaiserve ships, so that these contrast pictures are made for it. Licence: that of
the repository. For generated pictures only.
"""


def main() -> None:
    """Parse the arguments, train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test-pictures", type=int, default=300)
    parser.add_argument("--work", type=Path, required=True, help="Checkpoints and sample sheets.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    classifier = load_classifier("embedded")
    torch.set_num_threads(options.threads)
    pool = list(planted_samples(options.seed, PICTURES))
    pictures = pictures_of(
        [images_of([each for each in pool if each.label == label]) for label in LABELS],
        LABELS,
        PRESET.architecture.side,
    )
    shown, held_out = pictures.split(0.1, Keys.root(options.seed, "held out"))
    session = Session(
        store=open_store(options.work),
        pictures=shown,
        held_out=held_out,
        preset=PRESET,
        seed=options.seed,
        habits=Habits(checkpoint_s=60, sheet_s=120),
        guide=guide_of(classifier.gradients(), LABELS, channels=1),
        tell=print_progress,
    )
    outcome = session.run()
    told = card(
        PRESET,
        shown,
        held_out,
        outcome,
        seed=options.seed,
        title="The embedded translator",
        source="planted lesions (`xaiserve/data/planted.py`)",
        guide="embedded",
    )
    store = open_store(options.out)
    write_translator(store, session.generator, LABELS, told, training={})
    figures = measure(load_translator(options.out), options.test_pictures)
    told += FIGURES.format(seed=options.seed, threads=options.threads, **figures)
    write_translator(
        store, session.generator, LABELS, told, training={"steps": outcome.steps, **figures}
    )
    print(told)


def measure(translator: GanTranslator, count: int) -> dict[str, float]:
    """Translate fresh pictures and compare with their ideal twins."""
    classifier = load_classifier("embedded")
    ill = list(planted_samples(TEST_SEED, count, diseased_only=True))
    well = [each for each in planted_samples(TEST_SEED + 1, count) if each.label == "healthy"]
    images, healthy = images_of(ill), images_of(well)
    ideal = torch.from_numpy(np.stack([each.ideal for each in ill])).float().unsqueeze(1) / 255
    truth = torch.from_numpy(np.stack([each.truth for each in ill])).unsqueeze(1)
    drawn = translator.translate(images, translator.target("healthy"))
    error, before = (drawn - ideal).abs(), (images - ideal).abs()
    made_ill = translator.translate(healthy, translator.target("diseased"))
    same = translator.translate(healthy, translator.target("healthy"))
    return {
        "count": count,
        "healthy": len(well),
        "flipped": float((classifier.scores(drawn)[:, 0] > 0.5).float().mean()),  # noqa: PLR2004
        "error": float(error.mean()),
        "before": float(before.mean()),
        "inside": float(error[truth].mean()),
        "inside_before": float(before[truth].mean()),
        "outside": float((drawn - images).abs()[~truth].mean()),
        "own": float((same - healthy).abs().mean()),
        "made_ill": float((classifier.scores(made_ill)[:, 1] > 0.5).float().mean()),  # noqa: PLR2004
    }


def images_of(samples: Sequence[Sample]) -> Images:
    """Stack samples, (n, 1, h, w) in [0, 1]."""
    return torch.from_numpy(np.stack([each.image for each in samples])).float().unsqueeze(1) / 255


def print_progress(done: Step, steps: int) -> None:
    """Print every fiftieth step."""
    if done.number % 50 == 0:
        told = ", ".join(f"{name} {value:.3f}" for name, value in done.losses.items())
        print(f"step {done.number} of {steps}: {told}", flush=True)


if __name__ == "__main__":
    main()
