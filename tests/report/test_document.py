"""The JSON of one explanation."""

import base64
import json
import math

import numpy as np
import pytest
import torch

from xaiserve.api import Outcome, outcomes
from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex import MultiRex
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Cost
from xaiserve.report.document import (
    Document,
    Provenance,
    explanation_document,
    failure_document,
    saliency_document,
)
from xaiserve.storage.rle import rle_to_mask
from xaiserve.testing.toys import ToyClassifier, patch_classifier, toy_case, toy_image

PATCH = (4, 10, 6, 12)
METHOD = MultiRex(iterations=2, spotlights=2, budget=2)


@pytest.fixture(scope="module")
def classifier() -> ToyClassifier:
    return patch_classifier(toy_image(), PATCH)


@pytest.fixture(scope="module")
def outcome(classifier: ToyClassifier) -> Outcome:
    with Engine(classifier) as engine:
        return next(outcomes(METHOD, engine, [toy_case(classifier, toy_image())]))


def told(outcome: Outcome, classifier: ToyClassifier, **more: object) -> Document:
    assert outcome.explanation is not None
    return explanation_document(
        outcome.case,
        outcome.explanation,
        classifier.spec,
        outcome.cost,
        Provenance.of(classifier, METHOD, seed=3),
        **more,
    )


def test_is_strict_json(outcome: Outcome, classifier: ToyClassifier) -> None:
    document = told(outcome, classifier, scores=torch.tensor([[0.1, 0.9]]))
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_masks_survive_the_round_trip_bit_for_bit(
    outcome: Outcome, classifier: ToyClassifier
) -> None:
    document = json.loads(json.dumps(told(outcome, classifier)))
    assert document["explanations"]
    for one, found in zip(document["explanations"], outcome.explanation.explanations, strict=True):
        assert torch.equal(rle_to_mask(one["mask"]), found.mask)
        assert one["area_px"] == int(found.mask.sum())
        assert one["kind"] == found.kind
    assert document["selected"] == list(outcome.explanation.selected)


def test_names_everything_that_is_needed_to_repeat_it(
    outcome: Outcome, classifier: ToyClassifier
) -> None:
    document = told(outcome, classifier)
    assert document["method"]["name"] == "multirex"
    assert document["method"]["parameters"]["iterations"] == 2
    assert document["seed"] == 3
    assert document["model"]["digest"] == classifier.digest
    assert document["image"]["id"] == outcome.case.image_id


def test_gives_the_target_with_its_label_and_score(
    outcome: Outcome, classifier: ToyClassifier
) -> None:
    document = told(outcome, classifier, scores=torch.tensor([[0.25, 0.75]]))
    assert document["target"] == {"index": 1, "label": "evidence", "score": 0.75}
    assert [row["label"] for row in document["predictions"]] == ["evidence", "nothing"]


def test_without_scores_invents_none(outcome: Outcome, classifier: ToyClassifier) -> None:
    document = told(outcome, classifier)
    assert document["target"]["score"] is None
    assert document["predictions"] == []


def test_details_hold_what_only_this_method_says(
    outcome: Outcome, classifier: ToyClassifier
) -> None:
    assert told(outcome, classifier)["details"].keys() == {
        "confidence",
        "exact",
        "flat_map",
        "trivial",
    }


def test_a_spent_budget_is_an_incomplete_explanation(classifier: ToyClassifier) -> None:
    case = toy_case(classifier, toy_image())
    explanation = Explanation(
        image_id=case.image_id, explainer="toy", target=1, saliency=torch.zeros(24, 24)
    )
    cost = Cost(model_inputs=7, stopped="inputs")
    document = explanation_document(
        case, explanation, classifier.spec, cost, Provenance.of(classifier, METHOD, seed=0)
    )
    assert document["complete"] is False
    assert document["cost"]["stopped"] == "inputs"
    assert "explanations" not in document


def test_saliency_values_decode_to_the_map() -> None:
    saliency = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    document = saliency_document(saliency, values=True)
    decoded = np.frombuffer(base64.b64decode(document["base64"]), document["dtype"])
    assert np.allclose(decoded.reshape(5, 7), saliency.numpy(), atol=1e-3)


def test_the_peak_is_the_first_maximum() -> None:
    saliency = torch.zeros(4, 6)
    saliency[1, 2] = saliency[3, 5] = 2.0
    document = saliency_document(saliency, values=False)
    assert document["peak"] == {"row": 1, "column": 2}
    assert "base64" not in document


def test_numbers_that_json_lacks_become_null() -> None:
    document = saliency_document(torch.full((2, 2), math.nan), values=False)
    assert document["low"] is None


def test_an_error_is_told_with_its_kind() -> None:
    document = failure_document("x.png", InvalidInputError("x.png is damaged"))
    assert document == {
        "image": {"name": "x.png"},
        "error": {"kind": "InvalidInputError", "message": "x.png is damaged"},
    }
