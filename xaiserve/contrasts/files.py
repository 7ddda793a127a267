"""Contrast pictures that are stored: one beside each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from xaiserve.contrasts.base import Made
from xaiserve.contrasts.partners import Partners, read_partner
from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.models.preparing import as_prepared, prepare
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.case import Case, Contrast
from xaiserve.storage.pictures import DEFAULT_LIMITS, Picture, PictureLimits, decode
from xaiserve.types import Image

ValueRange = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContrasts:
    """The picture that belongs to each image by name; see `Partners`.

    Parameters
    ----------
    value_range
        The values of a 16-bit or float grey picture that become 0 and 1, as for the images.
    """

    spec: ModelSpec
    partners: Partners
    value_range: ValueRange | None = None
    name: ClassVar[str] = "file"
    batch: ClassVar[int] = 1

    @property
    def digest(self) -> str:
        """See `ContrastProvider.digest`."""
        return self.partners.digest

    def contrasts(self, cases: Sequence[Case]) -> list[Made]:
        """See `ContrastProvider.contrasts`."""
        return [self._made(case) for case in cases]

    def _made(self, case: Case) -> Made:
        try:
            uri = self.partners.find(case)
            return read_contrast(
                read_partner(uri),
                case,
                self.spec,
                name=PurePosixPath(uri).name,
                value_range=self.value_range,
            )
        except XaiServeError as error:
            return error


def read_contrast(
    data: bytes,
    case: Case,
    spec: ModelSpec,
    *,
    name: str = "",
    limits: PictureLimits = DEFAULT_LIMITS,
    value_range: ValueRange | None = None,
) -> Contrast:
    """Prepare the bytes of a stored contrast picture as the image of ``case`` was prepared.

    Parameters
    ----------
    data
        A picture of the original's size, which is then scaled and cropped like it, or of the
        model's input size, which is taken as it is.

    Raises
    ------
    InvalidInputError
        It cannot be read, or has another size.
    """
    about = f"contrast picture {name}" if name else "the contrast picture"
    try:
        picture = decode(data, limits=limits, value_range=value_range)
    except InvalidInputError as error:
        raise type(error)(f"{about}: {error}") from error
    return Contrast(
        image=_fitted(picture, case, spec, about),
        provider="file",
        digest=picture.sha256,
        notes=(f"a stored picture{f', {name}' if name else ''}", *picture.notes),
    )


def _fitted(picture: Picture, case: Case, spec: ModelSpec, about: str) -> Image:
    size = (picture.image.height, picture.image.width)
    own = (case.height, case.width)
    frame = case.frame
    original = own if frame is None else (frame.original_height, frame.original_width)
    if frame is not None and size == original:
        return prepare(picture, spec)[0]
    if size == own:
        return as_prepared(picture, spec)
    sizes = {f"{width}x{height}" for height, width in (original, own)}
    raise InvalidInputError(
        f"{about} must have the size of its image, {' or '.join(sorted(sizes))} px, "
        f"got {size[1]}x{size[0]}"
    )
