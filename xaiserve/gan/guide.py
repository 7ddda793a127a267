"""A classifier as the guide of a training: what is drawn shall convince it, too.

Ours: the published method knows only its own class head. A guide shortens trainings on small
machines and makes contrast pictures that flip the classifier to be explained; it is named in the
translator's card, because explanations then rest on it.
"""

from torch import Tensor

from xaiserve.errors import InvalidInputError
from xaiserve.gan.images import Labels
from xaiserve.gan.ranges import resized
from xaiserve.gan.step import Guide
from xaiserve.models.classifier import DifferentiableClassifier


def guide_of(classifier: DifferentiableClassifier, labels: Labels, channels: int) -> Guide:
    """Ask a classifier for the two classes of a training.

    Parameters
    ----------
    classifier
        Its weights are frozen.
    labels
        Names of the training's classes, which the classifier must have; case does not matter.
    channels
        Of the training's pictures; grey ones are repeated for a classifier of colours.

    Raises
    ------
    InvalidInputError
        The classifier lacks a class, or takes grey pictures and the training is in colour.
    """
    spec = classifier.spec
    known = [label.lower() for label in spec.labels]
    for label in labels:
        if known.count(label.lower()) != 1:
            raise InvalidInputError(
                f"classifier must have one class {label!r}, as the folder of images is named; "
                f"it has {', '.join(spec.labels[:8])}"
            )
    if channels > spec.channels:
        raise InvalidInputError("classifier takes grey images, and the training is in colour")
    columns = [known.index(label.lower()) for label in labels]
    classifier.module.requires_grad_(requires_grad=False)

    def guide(images: Tensor) -> Tensor:
        shown = resized(images, spec.height, spec.width).expand(-1, spec.channels, -1, -1)
        return classifier.logits(shown)[:, columns]

    return guide
