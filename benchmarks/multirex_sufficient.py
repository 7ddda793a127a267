"""``multirex-sufficient``: every returned set keeps the label alone, whatever the company.

Each image is explained in batches of 1, 7 and 64, together with the others and once by itself; all
must agree bit for bit. Each set is then scored by a plain loop that shares no code with the search:
compose, normalise, one session run, arg-max.
"""

import hashlib
from typing import Final

import torch

from benchmarks.common import MOBILENET, Report, correct_cases, need_data, report
from xaiserve.api import start
from xaiserve.explainers.multirex import MultiRex, MultiRexExplanation
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine

BAR: Final = 1.0
BATCHES: Final = (1, 7, 64)
FULL: Final = MultiRex(iterations=4, chunk=100, spotlights=4, budget=5)
QUICK: Final = MultiRex(iterations=1, chunk=400, spotlights=3, budget=2)


def run(quick: bool) -> Report:
    """Explain 40 images (``quick``: 6, with a shorter search) four times each."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=2)
    cases = correct_cases(model, 6 if quick else 40)
    explainer = QUICK if quick else FULL
    together = {rows: _explain(model, explainer, cases, rows) for rows in BATCHES}
    alone = [_explain(model, explainer, [case], BATCHES[1])[0] for case in cases]
    runs = [*together.values(), alone]
    same = sum(len({_digest(one) for one in group}) == 1 for group in zip(*runs, strict=True))
    sets = [
        (case, one.mask)
        for case, found in zip(cases, alone, strict=True)
        for one in found.explanations
    ]
    sufficient = sum(_keeps_label(model, case, mask) for case, mask in sets)
    value = sufficient / len(sets) if sets else 0.0
    return report(
        value,
        BAR,
        holds=value == BAR and same == len(cases),
        figures={
            "images": len(cases),
            "sets": len(sets),
            "sufficient_alone": sufficient,
            "images_identical_over_batches_and_company": same,
            "batches": list(BATCHES),
            "family_sizes": sorted(len(one.selected) for one in alone),
        },
    )


def _explain(
    model: LoadedClassifier, explainer: MultiRex, cases: list[Case], rows: int
) -> list[MultiRexExplanation]:
    with Engine(model, batch_rows=rows) as engine:
        tickets = [start(engine, explainer, case) for case in cases]
        found = [ticket.result() for ticket in tickets]
    return [one for one in found if isinstance(one, MultiRexExplanation)]


def _digest(found: MultiRexExplanation) -> str:
    parts = [found.saliency.numpy().tobytes(), repr(found.selected).encode()]
    parts += [one.mask.numpy().tobytes() for one in found.explanations]
    parts += [repr(one.confidence).encode() for one in found.explanations]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _keeps_label(model: LoadedClassifier, case: Case, mask: torch.Tensor) -> bool:
    shown = torch.where(mask, case.image, case.neutral)
    outputs = model.runner.outputs(model.spec.normalise(shown.unsqueeze(0)))
    return int(outputs.argmax()) == case.target
