"""Parity with the reference tool: the same cuts give the same search, map and set.

``rex_trace.json`` was recorded from ReX 0.4.1 by ``benchmarks/peers/rex_trace.py``.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from xaiserve.explainers.multirex import MultiRex
from xaiserve.explainers.multirex.extraction import Extraction
from xaiserve.explainers.multirex.ranking import ranking
from xaiserve.explainers.multirex.responsibility import ResponsibilitySearch
from xaiserve.perturb.drive import run
from xaiserve.perturb.plan import Goal
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys

TRACE = json.loads(Path(__file__).with_name("rex_trace.json").read_text())
SIDE = TRACE["side"]
IMAGE = torch.ones(3, SIDE, SIDE)
ITERATIONS = len(TRACE["iterations"])
OPTIONS = MultiRex(
    iterations=ITERATIONS,
    frontier="rex",
    scoring="share",
    merge="multiplicative",
    walk="every",
    chunk=TRACE["chunk"],
)


def scores(images):
    found = torch.tensor(TRACE["offsets"]).repeat(len(images), 1)
    for label, r0, r1, c0, c1, weight in TRACE["patches"]:
        found[:, label] += weight * images[:, 0, r0:r1, c0:c1].sum(dim=(1, 2))
    return found.softmax(dim=1)


def recorded_cut(iteration, box):
    cut = TRACE["iterations"][iteration]["cuts"].get(box.path)
    return None if cut is None else tuple(cut)


def searched(first=0, iterations=ITERATIONS, splitter=recorded_cut):
    spec = toys.toy_spec(IMAGE, labels=("target", "other", "third"))
    classifier = toys.ToyClassifier("recorded", spec, scores)
    case = toys.toy_case(classifier, IMAGE, target=TRACE["target"])
    search = ResponsibilitySearch(
        OPTIONS,
        case,
        [Scene(IMAGE, torch.zeros_like(IMAGE))],
        Keys.root(0, "unused: the cuts are recorded"),
        confidence=1.0,
        first=first,
        iterations=iterations,
        splitter=splitter,
    )
    run(search.run(), classifier)
    return search, case, classifier


@pytest.mark.parametrize("number", range(ITERATIONS))
def test_an_iteration_passes_and_fails_as_often_as_the_tool_s(number):
    told = searched(number, 1)[0].statistics
    recorded = TRACE["iterations"][number]
    assert (told.passing, told.failing) == (recorded["passing"], recorded["failing"])


def test_every_recorded_cut_is_made():
    asked = set()

    def noting(iteration, box):
        cut = recorded_cut(iteration, box)
        if cut is not None:
            asked.add((iteration, box.path))
        return cut

    searched(splitter=noting)
    recorded = {(i, path) for i, one in enumerate(TRACE["iterations"]) for path in one["cuts"]}
    assert asked == recorded


def test_the_merged_map_is_the_tool_s():
    ours = searched()[0].saliency().flatten().numpy()
    np.testing.assert_allclose(ours, TRACE["map"], rtol=2e-5)


def test_the_merged_map_ranks_the_pixels_as_the_tool_s_does():
    ours = ranking(searched()[0].saliency())
    theirs = ranking(torch.tensor(TRACE["map"]).view(SIDE, SIDE))
    assert torch.equal(ours, theirs)


def test_the_global_set_is_the_tool_s():
    search, case, classifier = searched()
    scene = Scene(IMAGE, torch.zeros_like(IMAGE))
    extraction = Extraction(scene, Goal(case.rule, case.target), search.saliency(), OPTIONS)
    found = run(extraction.whole(), classifier)
    assert found.mask.flatten().nonzero().flatten().tolist() == TRACE["global"]
