"""`Case`: one image to explain, and `Contrast`: what it would look like in another class."""

from dataclasses import dataclass, field

from xaiserve.models.frame import Frame
from xaiserve.models.spec import Rule
from xaiserve.types import Colour, Image, Labels


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Contrast:
    """The same picture as it would look in another class, and where it comes from.

    Parameters
    ----------
    image
        (c, h, w) float32 in [0, 1], of the size of the case's image.
    provider
        What made it: ``gan``, ``nearest``, ``file``, ``blur``, ``inpaint`` or ``ideal``.
    digest
        Sha256 of what decides it besides the image (a translator's weights, the other picture, the
        pool); empty when nothing does.
    notes
        What a reader of the explanation should know of it (which translator, which picture).
    """

    image: Image
    provider: str
    digest: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Case:
    """One image to explain, at the model's size, and what was prepared for it.

    Parameters
    ----------
    image_id
        Sha256 of the file's bytes; seeds are derived from it.
    image
        (c, h, w) float32 in [0, 1].
    target
        Class index to explain.
    neutral
        (c, 1, 1): the colour, in image units, whose model-input value is 0.
    unit
        (c, 1, 1): what model-input value 1 adds to ``neutral``, in image units.
    rule
        The classifier's decision rule: what "keeps the label" means.
    frame
        Where ``image`` lies in the original picture; none for an image made at the model's size.
    contrast
        The picture in another class, for methods that need one (`explainers.base.needs_of`).
    labels
        A cut of the picture, 0 being the background, for methods that are told to use it.
    name
        A label for people (file name, or the id a manifest gives); enters no seed.
    context
        A picture like ``image`` to hide pixels behind, for methods that are told to use one.
    notes
        What was done to the file on the way in (first frame taken, range scaled, ...).
    """

    image_id: str
    image: Image
    target: int
    neutral: Colour
    unit: Colour
    rule: Rule = field(default_factory=Rule)
    frame: Frame | None = None
    context: Image | None = None
    labels: Labels | None = None
    contrast: Contrast | None = None
    name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return int(self.image.shape[1])

    @property
    def width(self) -> int:
        return int(self.image.shape[2])
