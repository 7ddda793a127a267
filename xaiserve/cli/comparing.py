"""What ``xaiserve gallery`` does: several methods on the same images, on one engine.

Not imported before the command runs, because it imports torch.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from xaiserve.api import load_case, outcomes
from xaiserve.contrasts.base import ahead, asker
from xaiserve.contrasts.opening import ContrastSettings, open_provider
from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.explainers.base import Explainer, Explanation, needs_of
from xaiserve.explainers.registry import EXPLAINERS, make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.report.gallery import Row


def drawable(contrasts: ContrastSettings | None) -> tuple[list[str], list[str]]:
    """List all methods, and apart those that lack contrast pictures."""
    without = [name for name in EXPLAINERS if "contrast" in needs_of(make_explainer(name))]
    if contrasts is not None:
        return list(EXPLAINERS), []
    return [name for name in EXPLAINERS if name not in without], without


def compared(
    model: Classifier,
    images: Sequence[Path],
    explainers: Sequence[Explainer],
    seed: int,
    contrasts: ContrastSettings | None = None,
) -> list[Row]:
    """Explain every image with every method.

    Raises
    ------
    XaiServeError
        An image cannot be read or has no contrast picture.
    """
    cases = [_case(path, model) for path in images]
    total = len(explainers) * len(cases)
    columns = []
    with (
        Engine(model) as engine,
        tqdm(total=total, unit="explanation", disable=not sys.stderr.isatty()) as bar,
    ):
        cases = _contrasted(cases, contrasts, engine)
        for explainer in explainers:
            bar.set_postfix_str(explainer.name)
            columns.append(_answers(explainer, engine, cases, seed, bar))
    captions = [_caption(case, model) for case in cases]
    return [
        Row(case=case, caption=caption, answers=answers)
        for case, caption, answers in zip(cases, captions, zip(*columns, strict=True), strict=True)
    ]


def _case(path: Path, model: Classifier) -> Case:
    try:
        return load_case(path, model)
    except InvalidInputError as error:
        # Of the same kind, and with the file's name: there may be many.
        raise type(error)(f"{path}: {error}") from error


def _contrasted(
    cases: Sequence[Case], contrasts: ContrastSettings | None, engine: Engine
) -> list[Case]:
    if contrasts is None:
        return list(cases)
    model = engine.classifier
    provider = open_provider(
        contrasts, model.spec, asker(engine), images=len(cases), device=str(model.device)
    )
    found = []
    for case in ahead(provider, cases):
        if isinstance(case, XaiServeError):
            raise case
        found.append(case)
    return found


def _answers(
    explainer: Explainer,
    engine: Engine,
    cases: Sequence[Case],
    seed: int,
    bar: tqdm,
) -> list[Explanation | str]:
    try:
        found: list[Explanation | str] = []
        for outcome in outcomes(explainer, engine, cases, seed=seed):
            found.append(outcome.explanation or str(outcome.error))
            bar.update()
    except InvalidInputError as error:
        # The method as such does not go with this model: it needs gradients, say.
        return [str(error)] * len(cases)
    return found


def _caption(case: Case, model: Classifier) -> str:
    score = float(model.scores(case.image.unsqueeze(0))[0, case.target])
    return f"{model.spec.labels[case.target]} {score:.2f}"
