"""Classifiers whose explanation is known by construction, and images for them.

Evidence is a set of patches of one image. A patch is *visible* in a picture when at least 99 % of
its pixels equal the image's. Class `EVIDENCE` is decided or not by which patches are visible:

========================== ====================================================
classifier                 class `EVIDENCE` is decided iff
========================== ====================================================
`patch_classifier`         the patch is visible
`any_classifier`           at least one patch is visible (OR)
`all_classifier`           every patch is visible (AND)
`k_of_n_classifier`        at least k patches are visible
`constant_classifier`      always
`whole_classifier`         every pixel of the image is visible
`brightness_classifier`    the mean of all values is above a threshold
`graded_patch_classifier`  enough of one patch is shown, however blended
`light_classifier`         something bright is shown; it has gradients
========================== ====================================================
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from xaiserve.errors import InvalidInputError
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.models.spec import ModelSpec, Rule
from xaiserve.perturb.case import Case
from xaiserve.types import Image, Images, Margins, Scores

Patch = tuple[int, int, int, int]
"""r0, r1, c0, c1 in pixels, ends exclusive."""

EVIDENCE: Final = 1
"""The class that the evidence speaks for; class 0 is the other one."""

LABELS: Final = ("nothing", "evidence")
SEEN: Final = 0.9
"""Score of `EVIDENCE` where it is decided by visible patches; ``1 - SEEN`` elsewhere."""

VISIBLE: Final = 0.99
"""Share of a patch's pixels that must equal the image's."""

EQUAL: Final = 1e-5
"""Image values closer than this are equal: normalising and back costs some 1e-7."""


class ToyClassifier:
    """A classifier made of a function from images to probabilities; counts what it is asked.

    Parameters
    ----------
    name
        Says which function it is; two toys of one name and specification have one digest.
    spec
        With mean 0 and std 1 the normalised inputs are the images, bit for bit.
    function
        (n, c, h, w) in image units -> (n, k) probabilities, float32.
    batch_rows
        What the classifier says about its best batch.

    Attributes
    ----------
    rows, calls
        Rows scored and batches asked for so far.
    """

    def __init__(
        self,
        name: str,
        spec: ModelSpec,
        function: Callable[[Images], Scores],
        *,
        batch_rows: int = 64,
    ) -> None:
        self._name = name
        self._spec = spec
        self._function = function
        self._batch_rows = batch_rows
        self.rows = 0
        self.calls = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self._name}/{self._spec}".encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def streams(self) -> int:
        return 1

    @property
    def batch_rows(self) -> int:
        return self._batch_rows

    def score_inputs(self, inputs: Images, *, exact: bool = False) -> Scores:  # noqa: ARG002
        self.rows += len(inputs)
        self.calls += 1
        with torch.no_grad():
            return self._function(in_image_units(self._spec, inputs))

    def scores(self, images: Images) -> Scores:
        return self.score_inputs(self._spec.normalise(images))

    def gradients(self) -> DifferentiableClassifier:
        raise InvalidInputError(f"model {self._name!r} has no gradients: it is a plain function")


def in_image_units(spec: ModelSpec, inputs: Images) -> Images:
    """Undo `ModelSpec.normalise`."""
    low, high = spec.value_range
    mean, std = (inputs.new_tensor(numbers).view(-1, 1, 1) for numbers in (spec.mean, spec.std))
    return (inputs * std + mean - low) / (high - low)


def toy_image(
    height: int = 24,
    width: int | None = None,
    *,
    channels: int = 3,
    seed: int = 0,
    light: Patch | None = None,
) -> Image:
    """Make noise in [0.1, 0.9], or in [0.1, 0.4] with one bright patch, in [0.8, 1], of ``light``.

    ``width`` is the height unless given.
    """
    noise = np.random.Generator(np.random.Philox(key=seed)).random(
        (channels, height, width or height)
    )
    drawn = torch.from_numpy(noise.astype(np.float32))
    if light is None:
        return 0.1 + 0.8 * drawn
    image = 0.1 + 0.3 * drawn
    lit = (slice(None), slice(light[0], light[1]), slice(light[2], light[3]))
    image[lit] = 0.8 + 0.2 * drawn[lit]
    return image


def toy_spec(
    image: Image,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    labels: Sequence[str] = LABELS,
    rule: Rule | None = None,
) -> ModelSpec:
    """Describe a toy classifier for pictures of the size of ``image``."""
    channels, height, width = image.shape
    return ModelSpec(
        height=height,
        width=width,
        channels=channels,
        mean=(mean,) * channels,
        std=(std,) * channels,
        labels=tuple(labels),
        activation="none",
        rule=rule or Rule(),
    )


def toy_case(
    classifier: ToyClassifier, image: Image, *, target: int = EVIDENCE, name: str = "toy"
) -> Case:
    """Make the case of ``image`` for ``classifier``; its id is the digest of the pixels."""
    return Case(
        image_id=hashlib.sha256(image.numpy().tobytes()).hexdigest(),
        image=image,
        target=target,
        neutral=classifier.spec.neutral,
        unit=classifier.spec.unit,
        rule=classifier.spec.rule,
        name=name,
    )


def k_of_n_classifier(
    image: Image, patches: Sequence[Patch], k: int, *, spec: ModelSpec | None = None
) -> ToyClassifier:
    """Decide `EVIDENCE` iff at least ``k`` of ``patches`` are visible."""

    def function(images: Images) -> Scores:
        seen = torch.stack([shown(image, images, patch) for patch in patches])
        return two_scores(seen.sum(dim=0) >= k)

    name = f"{k} of {list(patches)}"
    return ToyClassifier(name, spec or toy_spec(image), function)


def patch_classifier(image: Image, patch: Patch, *, spec: ModelSpec | None = None) -> ToyClassifier:
    """Decide `EVIDENCE` iff ``patch`` is visible."""
    return k_of_n_classifier(image, [patch], 1, spec=spec)


def any_classifier(
    image: Image, patches: Sequence[Patch], *, spec: ModelSpec | None = None
) -> ToyClassifier:
    """Decide `EVIDENCE` iff at least one of ``patches`` is visible."""
    return k_of_n_classifier(image, patches, 1, spec=spec)


def all_classifier(
    image: Image, patches: Sequence[Patch], *, spec: ModelSpec | None = None
) -> ToyClassifier:
    """Decide `EVIDENCE` iff every one of ``patches`` is visible."""
    return k_of_n_classifier(image, patches, len(patches), spec=spec)


def constant_classifier(image: Image, *, spec: ModelSpec | None = None) -> ToyClassifier:
    """Decide `EVIDENCE` whatever is shown."""

    def function(images: Images) -> Scores:
        return two_scores(torch.ones(len(images), dtype=torch.bool))

    return ToyClassifier("constant", spec or toy_spec(image), function)


def whole_classifier(image: Image, *, spec: ModelSpec | None = None) -> ToyClassifier:
    """Decide `EVIDENCE` for the whole image alone: one hidden pixel loses it."""

    def function(images: Images) -> Scores:
        return two_scores(same_pixels(image, images).flatten(1).all(dim=1))

    return ToyClassifier("whole", spec or toy_spec(image), function)


def brightness_classifier(
    image: Image, threshold: float, *, spec: ModelSpec | None = None
) -> ToyClassifier:
    """Decide `EVIDENCE` iff the mean over pixels and channels exceeds ``threshold``.

    The score is a sigmoid of the difference, so over a black fill showing more never lowers it.
    """

    def function(images: Images) -> Scores:
        own = torch.sigmoid(20 * (images.flatten(1).mean(dim=1) - threshold))
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier(f"brightness {threshold}", spec or toy_spec(image), function)


def graded_patch_classifier(
    image: Image, patch: Patch, *, spec: ModelSpec | None = None
) -> ToyClassifier:
    """Score `EVIDENCE` by how little ``patch`` differs from the image, smoothly.

    The score is ``exp(-4 d)``, d the mean absolute difference inside the patch: 1 for the image.
    """

    def function(images: Images) -> Scores:
        own = torch.exp(
            -4 * (inside(images, patch) - inside(image, patch)).abs().flatten(1).mean(1)
        )
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier(f"graded {patch}", spec or toy_spec(image), function)


class LightNetwork(nn.Module):
    """Find light: two convolutions whose weights are set by hand, so nothing is drawn.

    Takes normalised inputs. Feature 0 is what a 3 x 3 mean exceeds 0.6 by, feature 1 what it
    falls short of 0.2 by; the logits are the means of 1 (dark) and of 0 (light) over the picture.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self._spec = spec
        mean = torch.full((1, spec.channels, 3, 3), 1 / (9 * spec.channels))
        swap = torch.tensor([[0.0, 50.0], [50.0, 0.0]]).view(2, 2, 1, 1)
        self.features = _convolution(torch.cat([mean, -mean]), [-0.6, 0.2])
        self.maps = _convolution(swap, [0.0, 0.0])

    @override
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = self.features(in_image_units(self._spec, inputs)).relu()
        return self.maps(features).relu().mean(dim=(2, 3))  # type: ignore[no-any-return]


class LightClassifier(ToyClassifier):
    """`LightNetwork` behind both protocols, `Classifier` and `DifferentiableClassifier`."""

    def __init__(self, spec: ModelSpec) -> None:
        self.module = LightNetwork(spec).eval()
        super().__init__("light", spec, lambda images: self.logits(images).softmax(dim=1))

    def logits(self, images: Images) -> Scores:
        """Raw outputs (n, 2), with gradients."""
        return self.module(self.spec.normalise(images))  # type: ignore[no-any-return]

    @override
    def gradients(self) -> DifferentiableClassifier:
        return self


def _convolution(weight: torch.Tensor, bias: Sequence[float]) -> nn.Conv2d:
    """Make a convolution of given weights; one built on ``meta`` draws no random numbers."""
    out, into, side, _ = weight.shape
    empty = nn.Conv2d(into, out, side, padding=side // 2, padding_mode="replicate", device="meta")
    made = empty.to_empty(device="cpu")
    made.load_state_dict({"weight": weight, "bias": torch.tensor(bias)})
    return made


def light_classifier(image: Image, *, spec: ModelSpec | None = None) -> LightClassifier:
    """Decide `EVIDENCE` iff something bright is shown; see the ``light`` of `toy_image`."""
    return LightClassifier(spec or toy_spec(image))


def two_scores(seen: torch.Tensor) -> Scores:
    """Turn decisions (n,) bool into the scores of both classes."""
    own = torch.where(seen, SEEN, 1 - SEEN)
    return torch.stack([1 - own, own], dim=1)


def inside(images: torch.Tensor, patch: Patch) -> torch.Tensor:
    """Cut ``patch`` out of one picture or many; a view."""
    r0, r1, c0, c1 = patch
    return images[..., r0:r1, c0:c1]


def same_pixels(image: Image, images: Images) -> torch.Tensor:
    """(n, h, w) bool: the pixel equals that of ``image`` in every channel."""
    return ((images - image).abs() < EQUAL).all(dim=1)


def shown(image: Image, images: Images, patch: Patch) -> torch.Tensor:
    """(n,) bool: ``patch`` is visible."""
    return visible_share(image, images, patch) >= VISIBLE


def visible_share(image: Image, images: Images, patch: Patch) -> Margins:
    """Share of the pixels of ``patch`` that equal those of ``image``, per row."""
    return same_pixels(inside(image, patch), inside(images, patch)).float().mean(dim=(1, 2))
