"""From what a user says to a provider: the one door of command line, jobs and service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from xaiserve.contrasts.base import Ask, ContrastProvider
from xaiserve.contrasts.blur import BlurContrasts
from xaiserve.contrasts.files import FileContrasts, ValueRange
from xaiserve.contrasts.gan import GanContrasts
from xaiserve.contrasts.inpaint import InpaintContrasts
from xaiserve.contrasts.nearest import NearestContrasts
from xaiserve.contrasts.partners import find_partners
from xaiserve.contrasts.pool import list_pool
from xaiserve.errors import InvalidInputError
from xaiserve.gan.translator import EMBEDDED, load_translator
from xaiserve.models.spec import ModelSpec
from xaiserve.models.translator import Translator
from xaiserve.parameters import parse_options

KINDS: Final = "nearest:POOL, file:PAIR, blur, inpaint or inpaint:MASKS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastSettings:
    """Where contrast pictures come from.

    Parameters
    ----------
    contrast
        ``nearest:POOL``, ``file:PAIR``, ``blur``, ``inpaint`` or ``inpaint:MASKS``.
    translator
        A translator's folder; instead of ``contrast``.
    options
        Of the provider, as texts: ``contrast_class`` of a translator, ``low`` and ``high`` of
        ``nearest``, ``sigma`` of ``blur``, ``share`` and ``grow_px`` of ``inpaint``.

    Raises
    ------
    InvalidInputError
        Both are given, or neither, or ``contrast`` is none of these.
    """

    contrast: str | None = None
    translator: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.contrast is None) == (self.translator is None):
            raise InvalidInputError(
                "contrast pictures must come from a translator or from a contrast "
                f"({KINDS}), got {'both' if self.contrast else 'neither'}"
            )
        if self.translator is None:
            self._check_kind()

    def _check_kind(self) -> None:
        kind, place = self.kind, self.place
        wants = {"nearest": True, "file": True, "blur": False, "inpaint": bool(place)}.get(kind)
        if wants is None or wants != bool(place):
            raise InvalidInputError(f"contrast must be {KINDS}, got {self.contrast!r}")

    @property
    def kind(self) -> str:
        """The provider's name."""
        return "gan" if self.contrast is None else self.contrast.partition(":")[0]

    @property
    def place(self) -> str:
        """The pool, the pairs, the masks or the translator; empty where there is none."""
        return self.translator or (self.contrast or "").partition(":")[2]

    def at(self, place: str) -> "ContrastSettings":
        """Return the same settings with another place."""
        if self.translator is not None:
            return ContrastSettings(translator=place, options=self.options)
        return ContrastSettings(contrast=f"{self.kind}:{place}", options=self.options)


def settings_of(
    contrast: str | None, translator: str | None, options: Mapping[str, str] | None = None
) -> ContrastSettings | None:
    """Make settings of what was said; none when nothing was.

    Raises
    ------
    InvalidInputError
        As `ContrastSettings`; or options are given for nothing.
    """
    if contrast is None and translator is None:
        if options:
            raise InvalidInputError(
                f"option {next(iter(options))} of contrast pictures goes with a translator or a "
                "contrast, and there is neither"
            )
        return None
    return ContrastSettings(contrast=contrast, translator=translator, options=dict(options or {}))


def settings_of_model(source: str) -> ContrastSettings | None:
    """Say what makes a model's contrast pictures when nobody says: the embedded one has its own."""
    return ContrastSettings(translator=EMBEDDED) if source == EMBEDDED else None


def open_provider(
    settings: ContrastSettings,
    spec: ModelSpec,
    ask: Ask,
    *,
    images: int | None = None,
    value_range: ValueRange | None = None,
    device: str = "cpu",
    load: Callable[..., Translator] = load_translator,
) -> ContrastProvider:
    """Open what ``settings`` name, for the classifier that ``ask`` asks.

    Parameters
    ----------
    images
        How many images will have contrasts; none when nobody knows.
    value_range
        Of stored contrast pictures; see `FileContrasts`.
    device
        Where a translator draws.
    load
        Loads the translator: here, or stands for one elsewhere.

    Raises
    ------
    InvalidInputError
        An option, the pool, the pairs or the translator is wrong or does not fit the classifier.
    NotFoundError, StoreUnavailableError
        A place does not exist or cannot be read.
    """
    place = settings.place
    match settings.kind:
        case "gan":
            fixed: dict[str, Any] = {  # Any: keywords of any provider
                "translator": load(place, device=device),
                "spec": spec,
                "ask": ask,
                "title": place.rstrip("/").rpartition("/")[2],
            }
            return _made(GanContrasts, fixed, settings)
        case "nearest":
            fixed = {"listing": list_pool(place, spec), "spec": spec, "ask": ask}
            return _made(NearestContrasts, fixed, settings)
        case "file":
            partners = find_partners(place, "contrast", images=images)
            fixed = {"spec": spec, "partners": partners, "value_range": value_range}
            return _made(FileContrasts, fixed, settings)
        case "inpaint":
            masks = find_partners(place, "mask", images=images) if place else None
            return _made(InpaintContrasts, {"masks": masks}, settings)
        case _:
            return _made(BlurContrasts, {}, settings)


def _made(
    owner: Any,  # a provider's class: protocols with properties take no part in subclass checks
    fixed: Mapping[str, object],
    settings: ContrastSettings,
) -> ContrastProvider:
    try:
        provider: ContrastProvider = owner(**fixed, **parse_options(owner, settings.options))
    except ValueError as error:
        raise InvalidInputError(f"contrast {settings.kind}: {error}") from error
    return provider
