"""What was asked before is not scored again, and nobody can tell by the answers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import ask
from xaiserve.perturb.query import Boxes, Mix, Pixels, Ranked, Scene, join
from xaiserve.perturb.repeats import Repeats
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.segment import grid_labels
from xaiserve.perturb.set_keys import box_keys, mix_keys, pixel_keys, segment_sums
from xaiserve.perturb.ticket import Limits
from xaiserve.testing import toys

SIDE = 12
IMAGE = toys.toy_image(SIDE)
SCENES = [Scene(IMAGE, torch.full_like(IMAGE, level)) for level in (0.0, 0.5)]
LABELS = grid_labels(SIDE, SIDE, 2)
RANK = torch.arange(SIDE * SIDE).view(SIDE, SIDE)


def digest_classifier():
    """Scores depend on every pixel, so that a wrong answer shows."""
    weights = Keys.root(0, "weights").generator().random((3, SIDE, SIDE)).astype(np.float32)

    def function(images):
        own = (images * torch.from_numpy(weights)).mean(dim=(1, 2, 3))
        return torch.stack([1 - own, own], dim=1)

    return toys.ToyClassifier("digest", toys.toy_spec(IMAGE), function)


def mix(rows, *, scene=SCENES[0], alone=False):
    keep = torch.tensor([[bool(row >> i & 1) for i in range(4)] for row in rows]).bool()
    return Mix(scene, LABELS, keep.view(len(rows), 4), alone)


def cells(rows, *, scene=SCENES[0], alone=False):
    """The same sets as `mix`, as rectangles."""
    half = SIDE // 2
    boxes, row = [], []
    for at, bits in enumerate(rows):
        for i in range(4):
            if bits >> i & 1:
                r, c = divmod(i, 2)
                boxes.append([r * half, (r + 1) * half, c * half, (c + 1) * half])
                row.append(at)
    corners = torch.tensor(boxes, dtype=torch.int64).view(-1, 4)
    return Boxes(scene, corners, torch.tensor(row, dtype=torch.int64), len(rows), alone)


DESCRIPTIONS = st.tuples(
    st.sampled_from(["mix", "cells", "ranked", "pixels"]),
    st.lists(st.integers(0, 15), max_size=6),
    st.sampled_from([0, 1]),
    st.booleans(),
)


def leaf(kind, rows, number, alone):
    if kind == "ranked":
        return Ranked.prefixes(SCENES[number], RANK, rows, alone=alone)
    if kind == "pixels":
        return Pixels(IMAGE.expand(len(rows), -1, -1, -1), alone)
    return (mix if kind == "mix" else cells)(rows, scene=SCENES[number], alone=alone)


def asking(rounds):
    answers = {}
    for turn, query in enumerate(rounds):
        answers[turn] = yield from ask(query)
    return list(answers.values())


@given(
    st.lists(st.lists(DESCRIPTIONS, min_size=1, max_size=3), max_size=5),
    st.sampled_from([0, 3, 1 << 20]),
)
@settings(max_examples=80, deadline=None)
def test_answers_with_and_without_it_are_equal(descriptions, kept_scores):
    rounds = [join([leaf(*one) for one in several]) for several in descriptions]
    classifier = digest_classifier()
    expected = run(asking(rounds), classifier)
    repeats = Repeats(2, kept_scores)
    for query, scores in zip(rounds, expected, strict=True):
        asked = repeats.reduce(query)
        answer = run(asking([asked.query]), classifier)[0]
        assert torch.allclose(repeats.restore(asked, answer), scores, atol=1e-6)


def test_the_key_of_a_set_is_the_wrapping_sum_over_its_pixels():
    rows = range(16)
    pixels = pixel_keys(SIDE, SIDE)
    weights = torch.empty(16, SIDE, SIDE)
    mix(rows).weigh(weights)
    slow = np.stack([pixels[w.flatten().numpy() > 0].sum(axis=0) for w in weights])
    assert (mix_keys(mix(rows), segment_sums(LABELS)) == slow).all()
    assert (box_keys(cells(rows)) == slow).all()


def test_different_sets_never_share_a_key():
    corners = [
        (r0, r1, c0, c1)
        for (r0, r1), (c0, c1) in itertools.product(
            list(itertools.combinations(range(SIDE + 1), 2)), repeat=2
        )
    ]
    rows = len(corners)
    every = Boxes(SCENES[0], torch.tensor(corners), torch.arange(rows), rows)
    halves = box_keys(every)
    assert len(set(halves[:, 0].tolist())) == len(set(halves[:, 1].tolist())) == rows


def asked_rows(*rounds):
    """Rows that the model scored and rows that it did not have to."""
    classifier = digest_classifier()
    with Engine(classifier, batch_rows=4) as engine:
        ticket = engine.submit(asking(rounds))
        answers = ticket.result(30)
    expected = run(asking(rounds), digest_classifier())
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(answers, expected, strict=True))
    assert ticket.cost.model_inputs == classifier.rows
    return classifier.rows, ticket.cost.repeated_questions


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([mix([1, 2, 1, 1])], (2, 2)),
        ([mix([1, 2]), mix([2, 3, 1])], (3, 2)),
        ([mix([1, 2, 3]), cells([3, 5, 1])], (4, 2)),
        ([join([mix([7]), cells([7, 7])])], (1, 2)),
        ([mix([1]), mix([1], scene=SCENES[1])], (2, 0)),
        ([mix([1]), mix([1], alone=True)], (2, 0)),
        ([mix([1], alone=True), mix([1]), mix([1], alone=True)], (1, 2)),
        ([mix([1, 2]), mix([2, 1])], (2, 2)),
        ([Ranked.prefixes(SCENES[0], RANK, [5, 5])], (2, 0)),
    ],
)
def test_what_counts_as_a_repeat(rounds, expected):
    assert asked_rows(*rounds) == expected


def test_a_budget_counts_only_rows_that_are_scored():
    rounds = [mix([1, 2, 3])] * 5
    with Engine(digest_classifier()) as engine:
        ticket = engine.submit(asking(rounds), limits=Limits(max_inputs=3))
        assert len(ticket.result(30)) == 5
    assert (ticket.cost.model_inputs, ticket.cost.repeated_questions) == (3, 12)


def test_what_is_kept_is_bounded():
    repeats = Repeats(2, 4)
    for query in (mix([1, 2, 3]), mix([1, 2, 3])):
        asked = repeats.reduce(query)
        repeats.restore(asked, torch.zeros(len(asked.query), 2))
    assert asked.repeats == 2
