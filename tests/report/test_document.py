"""The JSON of one explanation."""

import base64
import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from xaiserve.api import Outcome, outcomes
from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.frame import Frame
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Cost
from xaiserve.report.document import (
    explanation_document,
    failure_document,
    none_document,
    saliency_document,
    scores_document,
)
from xaiserve.report.subject import Document, Subject
from xaiserve.storage.rle import rle_to_mask
from xaiserve.testing.toys import ToyClassifier, patch_classifier, toy_case, toy_image

PATCH = (4, 10, 6, 12)
METHOD = MultiRex(iterations=2, spotlights=2, budget=2, pairs=False)
SCORES = torch.tensor([[0.25, 0.75]])
TWICE = Frame(
    original_height=48,
    original_width=48,
    scaled_height=24,
    scaled_width=24,
    top=0,
    left=0,
    height=24,
    width=24,
)
"""The model sees the whole picture at half its size."""


@pytest.fixture(scope="module")
def classifier() -> ToyClassifier:
    return patch_classifier(toy_image(), PATCH)


@pytest.fixture(scope="module")
def outcome(classifier: ToyClassifier) -> Outcome:
    case = dataclasses.replace(toy_case(classifier, toy_image()), frame=TWICE, name="toy.png")
    with Engine(classifier) as engine:
        return next(outcomes(METHOD, engine, [case]))


@pytest.fixture(scope="module")
def subject(outcome: Outcome, classifier: ToyClassifier) -> Subject:
    return Subject(
        classifier=classifier, explainer=METHOD, seed=3, case=outcome.case, scores=SCORES
    )


def told(subject: Subject, outcome: Outcome) -> Document:
    assert outcome.explanation is not None
    return explanation_document(subject, outcome.explanation, outcome.cost)


def test_is_strict_json(subject: Subject, outcome: Outcome) -> None:
    document = told(subject, outcome)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_masks_survive_the_round_trip_bit_for_bit(subject: Subject, outcome: Outcome) -> None:
    document = json.loads(json.dumps(told(subject, outcome)))
    assert document["explanations"]
    for one, found in zip(document["explanations"], outcome.explanation.explanations, strict=True):
        assert torch.equal(rle_to_mask(one["mask"]), found.mask)
        assert one["area_px"] == int(found.mask.sum())
        assert one["kind"] == found.kind
    assert document["selected"] == list(outcome.explanation.selected)


def test_masks_and_maps_of_the_original_frame_have_its_size(
    subject: Subject, outcome: Outcome
) -> None:
    larger = told(dataclasses.replace(subject, frame_name="original"), outcome)
    assert (larger["frame"]["name"], larger["frame"]["height"]) == ("original", 48)
    assert larger["saliency"]["shape"] == [48, 48]
    for one, own in zip(
        larger["explanations"], told(subject, outcome)["explanations"], strict=True
    ):
        twice = rle_to_mask(own["mask"]).repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert torch.equal(rle_to_mask(one["mask"]), twice)
        assert one["area_px"] == 4 * own["area_px"]
        assert one["area_fraction"] == own["area_fraction"]


def test_notes_are_those_of_the_picture_and_then_those_of_the_method(
    subject: Subject, outcome: Outcome
) -> None:
    case = dataclasses.replace(outcome.case, notes=("it was converted",))
    found = dataclasses.replace(outcome.explanation, notes=("alpha 2.0 has no effect",))
    document = explanation_document(dataclasses.replace(subject, case=case), found, outcome.cost)
    assert document["notes"] == ["it was converted", "alpha 2.0 has no effect"]
    assert told(subject, outcome)["notes"] == []


def test_names_everything_that_is_needed_to_repeat_it(
    subject: Subject, outcome: Outcome, classifier: ToyClassifier
) -> None:
    document = told(subject, outcome)
    assert (document["method"], document["version"]) == ("multirex", METHOD.version)
    assert document["parameters"]["iterations"] == 2
    assert document["seed"] == 3
    assert (document["model"], document["model_digest"]) == (classifier.name, classifier.digest)
    assert (document["image_id"], document["name"]) == (outcome.case.image_id, "toy.png")


def test_gives_the_target_with_its_label_and_score(subject: Subject, outcome: Outcome) -> None:
    document = told(subject, outcome)
    assert document["target"] == {"index": 1, "label": "evidence"}
    assert document["confidence"] == 0.75
    assert [row["label"] for row in document["scores"]] == ["evidence", "nothing"]


def test_the_lower_index_of_equal_scores_comes_first(classifier: ToyClassifier) -> None:
    rows = scores_document(torch.tensor([[0.5, 0.5]]), classifier.spec, 1)
    assert [row["index"] for row in rows] == [0]


def test_details_hold_what_only_this_method_says(subject: Subject, outcome: Outcome) -> None:
    document = told(subject, outcome)
    assert document["details"].keys() >= {"exact", "flat_map", "trivial", "contrastive"}
    assert document["details"]["contrastive"] is None
    assert document["details"]["costs"][0] == {"stage": "target", "questions": 2, "rounds": 1}
    assert document["details"]["statistics"]["iterations_used"] == 2
    assert document["explanations"][0]["details"].keys() >= {"margin", "ranked_px"}


def test_masks_and_curves_inside_a_result_are_told_too(classifier: ToyClassifier) -> None:
    case = dataclasses.replace(toy_case(classifier, toy_image()), frame=TWICE, name="toy.png")
    method = dataclasses.replace(METHOD, contrastive=True, curves=True)
    with Engine(classifier) as engine:
        outcome = next(outcomes(method, engine, [case]))
    subject = Subject(
        classifier=classifier,
        explainer=method,
        seed=0,
        case=case,
        scores=SCORES,
        frame_name="original",
    )
    details = told(subject, outcome)["details"]
    assert rle_to_mask(details["contrastive"]["mask"]).shape == (48, 48)
    assert len(details["curves"]["insertion"]) == 576 // method.insertion_step
    assert json.loads(json.dumps(details)) == details


def test_a_spent_budget_is_an_incomplete_explanation(subject: Subject) -> None:
    explanation = Explanation(
        image_id=subject.case.image_id, explainer="toy", target=1, saliency=torch.zeros(24, 24)
    )
    cost = Cost(model_inputs=7, stopped="inputs")
    document = explanation_document(subject, explanation, cost)
    assert (document["complete"], document["stopped"]) == (False, "inputs")
    assert document["explanations"] == []


def test_no_answer_is_told_in_the_same_fields(subject: Subject, outcome: Outcome) -> None:
    document = none_document(subject, "the top class is 0", Cost())
    assert (document["outcome"], document["reason"]) == ("none", "the top class is 0")
    assert document.keys() == told(subject, outcome).keys()


def test_refuses_a_case_that_was_read_from_no_picture(subject: Subject) -> None:
    with pytest.raises(ValueError, match=r"toy\.png must have a frame"):
        dataclasses.replace(subject, case=dataclasses.replace(subject.case, frame=None))


def test_saliency_values_decode_to_the_map() -> None:
    saliency = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    document = saliency_document(saliency, whole=True)
    decoded = np.frombuffer(base64.b64decode(document["data"]), document["dtype"])
    assert np.array_equal(decoded.reshape(5, 7), saliency.numpy())


def test_the_peak_is_the_first_maximum() -> None:
    saliency = torch.zeros(4, 6)
    saliency[1, 2] = saliency[3, 5] = 2.0
    document = saliency_document(saliency, whole=False)
    assert document["peak"] == {"row": 1, "column": 2}
    assert document["data"] is None


def test_numbers_that_json_lacks_become_null() -> None:
    document = saliency_document(torch.full((2, 2), math.nan), whole=False)
    assert document["minimum"] is None


def test_an_error_is_told_with_its_kind() -> None:
    document = failure_document("x.png", InvalidInputError("x.png is damaged"))
    assert document == {
        "name": "x.png",
        "error": {"kind": "InvalidInputError", "message": "x.png is damaged"},
    }
