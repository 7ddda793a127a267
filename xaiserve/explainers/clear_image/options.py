"""The parameters of CLEAR Image, and what does not go together."""

from dataclasses import dataclass
from typing import Final

from xaiserve.explainers.clear_image.parts import Mode, RegressionKind, ScoreKind, Segmenter
from xaiserve.parameters import check_fields, param

_CODE: Final = "released code of White et al. 2023"
_OURS: Final = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearOptions:
    """What can be chosen; see `xaiserve.explainers.clear_image` for the method."""

    mode: Mode = param(
        "strict", "The method, or parity with every quirk of its released code.", source=_OURS
    )

    # -- what is decided -------------------------------------------------------------------------

    boundary: float | None = param(
        None,
        "Probability at which the label is kept; none for the model's own rule, which is 0.5 for "
        "two classes.",
        low=1e-6,
        high=1 - 1e-6,
        source=f"{_OURS}; {_CODE} 0.5",
    )
    tau: float = param(
        0.99, "Probability from which segments are sufficient.", low=0.5, high=1, source=_CODE
    )

    # -- segments --------------------------------------------------------------------------------

    segmenter: Segmenter = param(
        "gan_xray", "How the picture is cut; supplied takes the case's label map.", source=_CODE
    )
    diff_threshold: float = param(
        0.25, "gan_diff: difference above which a pixel counts.", low=0, high=1, source=_CODE
    )
    diff_min_area_px: int = param(
        50, "gan_diff: fewest pixels of a segment.", low=1, high=1_000_000, source=_CODE
    )
    high_threshold: float = param(
        0.30, "gan_xray: difference above which a pixel is strong.", low=0, high=1, source=_CODE
    )
    low_threshold: float = param(
        0.035, "gan_xray: difference above which a pixel counts.", low=0, high=1, source=_CODE
    )
    xray_min_area_px: int = param(
        250, "gan_xray: fewest pixels of a segment.", low=1, high=1_000_000, source=_CODE
    )
    max_felzenszwalb: int = param(
        10, "gan_xray: parts of the largest weak segments, background included.", low=2, high=100,
        source=_CODE,
    )  # fmt: skip
    max_other: int = param(
        4, "gan_xray: other weak segments, at most.", low=0, high=100, source=_CODE
    )
    max_segments: int = param(
        64, "Refuse a picture that is cut into more, background included.", low=2, high=256,
        source=f"{_OURS}; {_CODE} 100",
    )  # fmt: skip

    # -- what is asked ---------------------------------------------------------------------------

    depth: int = param(
        4,
        "Most segments replaced together in the search for counterfactuals; 3 and 4 only while "
        "none is found.",
        low=1,
        high=4,
        source=_CODE,
    )
    samples: int = param(1000, "Random masks around the image.", low=50, high=100_000, source=_CODE)
    max_replaced: int = param(
        4, "Segments drawn to be replaced in one random mask, at most.", low=1, high=64,
        source=_CODE,
    )  # fmt: skip
    informative_low: float = param(
        0.02, "Masks with a probability from this on say something.", low=0, high=1, source=_CODE
    )
    informative_high: float = param(
        0.98, "Masks with a probability up to this say something.", low=0, high=1, source=_CODE
    )
    informative_share: float = param(
        0.2, "Share of informative masks below which more are made from them.", low=0, high=1,
        source=_CODE,
    )  # fmt: skip
    exact_up_to: int = param(
        256,
        "Ask about all masks where there are at most so many, for exact answers beside the "
        "regression; 0 for never.",
        low=0,
        high=65_536,
        source=_OURS,
    )
    max_queries: int | None = param(
        50_000,
        "Refuse an image whose worst case asks about more masks; none for no limit.",
        low=1,
        source=_OURS,
    )

    # -- regression ------------------------------------------------------------------------------

    regression: RegressionKind = param(
        "logistic", "Logistic, or multiple linear through the image itself.", source=_CODE
    )
    score: ScoreKind = param("aic", "What chooses the terms.", source=_CODE)
    max_predictors: int = param(
        10, "Terms with the intercept; three more than counterfactuals force where those fill it.",
        low=2, high=256, source=f"{_CODE}: 10 for X-rays, 6 for synthetic pictures",
    )  # fmt: skip
    interactions: bool = param(False, "Offer products of two segments as terms.", source=_CODE)
    counterfactual_interactions: bool = param(
        False,
        "Force the product of each counterfactual of two segments in, not its segments.",
        source=_CODE,
    )
    all_segments: bool = param(False, "Force every segment in.", source=_CODE)
    include: tuple[float, ...] = param(
        (), "Numbers of further segments to force in.", low=0, high=255, source=_CODE
    )
    counterfactual_weight: float = param(
        200.0, "Rows added for each counterfactual.", low=0, high=1e6, source=_CODE
    )
    penalty: float = param(
        0.0, "Ridge penalty on the weights.", low=0, high=1e6, source=f"{_OURS}; {_CODE} none"
    )
    max_sufficient_causes: int = param(
        2, "Look for pairs where no single segment is sufficient, or not (1).", low=1, high=2,
        source=_CODE,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("diff_threshold", "low_threshold", "high_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {getattr(self, name)}")
        for segment in self.include:
            if segment != int(segment):
                raise ValueError(f"include must hold whole numbers, got {segment}")
        _check_order("low_threshold", self.low_threshold, "high_threshold", self.high_threshold)
        _check_order(
            "informative_low", self.informative_low, "informative_high", self.informative_high
        )
        if not 0.5 < self.tau < 1:  # noqa: PLR2004
            raise ValueError(f"tau must be above 0.5 and below 1, got {self.tau}")
        fits = {"logistic": ("aic", "pseudo-r2"), "multiple": ("aic", "adjusted-r2")}
        if self.score not in fits[self.regression]:
            raise ValueError(
                f"score must be {' or '.join(fits[self.regression])} when regression is "
                f"{self.regression}, got {self.score}"
            )


def _check_order(low: str, below: float, high: str, above: float) -> None:
    if not below < above:
        raise ValueError(f"{low} must be below {high}, got {below} and {above}")
