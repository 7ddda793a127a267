"""Turn described questions into model inputs, straight into the batch buffer.

Composing happens on normalised pictures: a scene's two pictures are normalised once, when the first
question about it arrives, and never per perturbed image. One fused interpolation per row,
``fill + weight * (image - fill)``, exact at weights 0 and 1.
"""

from weakref import WeakKeyDictionary

import torch

from xaiserve.models.classifier import Classifier
from xaiserve.perturb._upload import upload
from xaiserve.perturb.query import Leaf, Pixels, Scene
from xaiserve.types import Images


class Composer:
    """Composes for one classifier, on its device; used by one thread at a time.

    Parameters
    ----------
    classifier
        Whose inputs are composed.
    rows
        Rows of a buffer, at least 1.
    buffers
        How many there are: one can be composed into while another is scored.
    """

    def __init__(self, classifier: Classifier, rows: int, *, buffers: int = 1) -> None:
        spec = classifier.spec
        self._spec = spec
        self._device = classifier.device
        self._scenes: WeakKeyDictionary[Scene, tuple[Images, Images]] = WeakKeyDictionary()
        shape = (rows, spec.channels, spec.height, spec.width)
        self._weights = torch.empty(rows, spec.height, spec.width, device=self._device)
        self.buffers: tuple[Images, ...] = tuple(
            torch.empty(shape, device=self._device) for _ in range(buffers)
        )

    @property
    def inputs(self) -> Images:
        """The first buffer, or the only one."""
        return self.buffers[0]

    def compose(self, leaf: Leaf, at: int, inputs: Images | None = None) -> None:
        """Write the rows of ``leaf`` into a buffer, `inputs` unless given, from row ``at``."""
        out = (self.inputs if inputs is None else inputs)[at : at + len(leaf)]
        if isinstance(leaf, Pixels):
            out.copy_(self._spec.normalise(upload(leaf.images, self._device)))
            return
        image, fill = self._pictures(leaf.scene)
        weights = self._weights[: len(leaf)]
        leaf.weigh(weights)
        torch.lerp(fill, image, weights.unsqueeze(1), out=out)

    def _pictures(self, scene: Scene) -> tuple[Images, Images]:
        found = self._scenes.get(scene)
        if found is None:
            both = upload(torch.stack([scene.image, scene.fill]), self._device)
            image, fill = self._spec.normalise(both).unsqueeze(1)
            found = self._scenes[scene] = (image, fill)
        return found
