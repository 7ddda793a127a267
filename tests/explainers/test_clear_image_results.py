import torch

from xaiserve.explainers.clear_image.results import (
    ClearExplanation,
    Counterfactual,
    Lattice,
    Neighbourhood,
    Regression,
    Segment,
    Segmentation,
    SufficientCause,
    Term,
)
from xaiserve.storage.records import from_rows, to_table
from xaiserve.testing.contracts import equal_as_stored, same


def explanation(lattice):
    labels = torch.zeros(8, 8, dtype=torch.int64)
    labels[2:4, 2:6] = 1
    ends = {"area_px": 8, "box": (2, 2, 4, 6), "mean_difference": 0.5}
    return ClearExplanation(
        image_id="a" * 64,
        explainer="clear-image",
        target=1,
        saliency=labels.float() / 8,
        ending="complete",
        flags=("leakage",),
        warnings=("a third of the difference lies outside the segments",),
        mode="strict",
        p1=0.9,
        p0=0.1,
        boundary=0.5,
        decision="boundary",
        contrast=torch.full((1, 8, 8), 7, dtype=torch.uint8),
        contrast_provider="ideal",
        contrast_notes=(),
        difference=torch.full((8, 8), 9, dtype=torch.uint8),
        leakage=0.3,
        labels=labels,
        segmentation=Segmentation(segmenter="gan_diff", high_threshold=0.25, min_area_px=50),
        segments=(
            Segment(id=0, kind="background", area_px=56, box=(0, 0, 8, 8), mean_difference=0.0),
            Segment(id=1, kind="high", weight=4.4, importance=4.4, p_without=0.1, **ends),
        ),
        regression=Regression(
            kind="logistic",
            intercept=-2.2,
            terms=(Term(segments=(1,), weight=4.4),),
            score=12.5,
            score_type="aic",
            accuracy=1.0,
            p=0.9,
            centering_gap=0.0,
            ridge=1e-10,
            centering_rounds=0,
        ),
        counterfactuals=(
            Counterfactual(segments=(1,), p=0.1, p_regression=0.11, fidelity_error=0.01),
        ),
        counterfactual_depth=2,
        fidelity_mean=0.01,
        fidelity_max=0.01,
        tau=0.99,
        sufficient_regression=(),
        sufficient_verified=(SufficientCause(segments=(1,), p=0.995),),
        overdetermined=False,
        neighbourhood=Neighbourhood(
            masks=torch.tensor([[1, 1], [1, 0]], dtype=torch.uint8),
            weights=torch.tensor([101.0, 202.0], dtype=torch.float64),
            p=torch.tensor([0.9, 0.1], dtype=torch.float64),
            p_regression=torch.tensor([0.9, 0.11], dtype=torch.float64),
        ),
        lattice=lattice,
        queries_issued=1003,
        queries_distinct=4,
    )


def survives_a_record(found):
    (again,) = from_rows(ClearExplanation, to_table([found], ClearExplanation).to_pylist())
    same(found, again, equal_as_stored)


def test_an_explanation_survives_a_record():
    survives_a_record(explanation(None))


def test_an_explanation_with_its_lattice_survives_a_record():
    lattice = Lattice(
        p=torch.tensor([0.1, 0.1, 0.9, 0.9], dtype=torch.float64),
        shapley=torch.tensor([0.0, 0.8], dtype=torch.float64),
        sufficient=(),
        counterfactuals=((1,),),
        mean_error=0.005,
        max_error=0.01,
    )
    survives_a_record(explanation(lattice))
