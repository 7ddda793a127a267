"""Every method whose explanation is several sets of pixels is drawn and told alike."""

import dataclasses
import json

import pytest
import torch

from xaiserve.explainers.base import Explanation, WithSets
from xaiserve.explainers.baselines.sag import Root, Sag, SagExplanation
from xaiserve.models.frame import Frame
from xaiserve.perturb.case import Case
from xaiserve.perturb.ticket import Cost
from xaiserve.report.document import explanation_document
from xaiserve.report.overlays import sketch
from xaiserve.report.subject import Document, Subject
from xaiserve.storage.rle import rle_to_mask
from xaiserve.testing.toys import ToyClassifier, patch_classifier, toy_case, toy_image

FRAME = Frame(
    original_height=24,
    original_width=24,
    scaled_height=24,
    scaled_width=24,
    top=0,
    left=0,
    height=24,
    width=24,
)


def root(rows: slice) -> Root:
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[rows] = True
    area = int(mask.sum())
    return Root(
        mask=mask,
        patches=(3, 4),
        confidence=0.8,
        margin=0.6,
        keeps_label=True,
        area_px=area,
        area_fraction=area / 576,
        kind="root",
    )


@pytest.fixture
def explanation() -> SagExplanation:
    return SagExplanation(
        image_id="0" * 64,
        explainer="sag",
        target=1,
        saliency=torch.rand(24, 24, generator=torch.Generator()),
        confidence=0.85,
        explanations=(root(slice(0, 4)), root(slice(3, 6)), root(slice(20, 24))),
        family=(0, 2),
        selected=(0, 2),
        trivial=False,
        nodes=(),
        edges=(),
    )


@pytest.fixture
def classifier() -> ToyClassifier:
    return patch_classifier(toy_image(), (4, 10, 6, 12))


@pytest.fixture
def case(classifier: ToyClassifier) -> Case:
    return dataclasses.replace(toy_case(classifier, toy_image()), frame=FRAME)


@pytest.fixture
def document(explanation: SagExplanation, classifier: ToyClassifier, case: Case) -> Document:
    subject = Subject(
        classifier=classifier,
        explainer=Sag(),
        seed=0,
        case=case,
        scores=torch.tensor([[0.2, 0.8]]),
    )
    return explanation_document(subject, explanation, Cost())


def test_an_explanation_with_sets_is_known_by_its_fields(explanation: SagExplanation) -> None:
    plain = Explanation(image_id="", explainer="x", target=0, saliency=torch.zeros(2, 2))
    assert isinstance(explanation, WithSets)
    assert not isinstance(plain, WithSets)


def test_the_selected_sets_are_outlined(case: Case, explanation: SagExplanation) -> None:
    sets = sketch(case, explanation).sets
    assert sets is not None
    chosen = [explanation.explanations[index] for index in explanation.selected]
    assert all(torch.equal(a.mask, b.mask) for a, b in zip(sets, chosen, strict=True))


def test_the_document_lists_every_set(document: Document, explanation: SagExplanation) -> None:
    assert document["selected"] == [0, 2]
    assert [one["selected"] for one in document["explanations"]] == [True, False, True]
    for told, found in zip(document["explanations"], explanation.explanations, strict=True):
        assert torch.equal(rle_to_mask(told["mask"]), found.mask)
        assert told["details"] == {"keeps_label": True, "margin": 0.6, "patches": [3, 4]}
    assert json.loads(json.dumps(document, allow_nan=False)) == document
