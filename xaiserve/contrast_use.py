"""Whether methods need contrast pictures, and where those come from."""

from collections.abc import Sequence

from xaiserve.contrasts.opening import KINDS, ContrastSettings, settings_of_model
from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explainer, needs_of


def check_contrast_use(
    explainers: Sequence[Explainer], settings: ContrastSettings | None, *, stored: bool = False
) -> bool:
    """Say whether one of the methods needs contrast pictures, which then must come from somewhere.

    ``stored`` says that every image brings its own.

    Raises
    ------
    InvalidInputError
        They are needed and ``settings`` are none, or given and nobody needs them.
    """
    needing = [each.name for each in explainers if "contrast" in needs_of(each)]
    if needing and settings is None and not stored:
        raise InvalidInputError(
            f"{needing[0]} compares the image with a contrast picture, and there is none: give "
            f"translator, a translator's folder, or contrast, which is {KINDS}"
        )
    if settings is not None and not needing:
        names = ", ".join(each.name for each in explainers)
        what = "translator" if settings.translator else "contrast"
        raise InvalidInputError(
            f"{what} is for methods that compare the image with a contrast picture, got {names}"
        )
    return bool(needing)


def contrasts_for(
    explainers: Sequence[Explainer], settings: ContrastSettings | None, source: str
) -> ContrastSettings | None:
    """Return ``settings``; without any, those of the model itself, where a method needs them.

    Parameters
    ----------
    source
        The model, as `xaiserve.models.loading.load_classifier` takes it.
    """
    needed = any("contrast" in needs_of(each) for each in explainers)
    return settings_of_model(source) if settings is None and needed else settings
