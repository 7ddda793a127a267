"""What ``xaiserve explain`` does: read photos, explain them with many in flight, keep their order.

Not imported before the command runs, because it imports torch.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from xaiserve.api import load_case, outcomes, scores_plan
from xaiserve.cli.options import named_source
from xaiserve.contrast_use import contrasts_for
from xaiserve.contrasts.base import ContrastProvider, asker, with_contrasts
from xaiserve.contrasts.opening import ContrastSettings, open_provider, settings_of
from xaiserve.errors import XaiServeError
from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Event
from xaiserve.perturb.ticket import Cost, Limits
from xaiserve.report.subject import FrameName
from xaiserve.types import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asked for.

    Parameters
    ----------
    source, file_format, device, precision, trust_code
        The model; see `xaiserve.models.loading.load_classifier`.
    options
        Parameters of the method, as texts.
    target
        Class index or label; each photo's top class when none.
    frame
        The pixels of masks and maps, and what overlays are drawn on.
    value_range
        Grey values that become 0 and 1; the file type's range when none.
    context
        A picture that hidden pixels show, for methods that are told to.
    contrast, translator, contrast_options
        Where contrast pictures come from, for methods that need them; see `ContrastSettings`. The
        embedded model has a translator of its own.
    max_inputs, max_seconds
        Limits per photo.
    workers
        Processes that score, each with the model; 0 for this one.
    out
        Folder for the files; no files when none.
    """

    photos: tuple[Path, ...]
    source: str
    file_format: Literal["onnx", "safetensors", "pt2"] | None = None
    device: str = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    trust_code: bool = False
    method: str = "multirex"
    options: Mapping[str, str]
    target: str | None = None
    seed: int = 0
    frame: FrameName = "model"
    value_range: tuple[float, float] | None = None
    context: Path | None = None
    contrast: str | None = None
    translator: str | None = None
    contrast_options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_inputs: int | None = None
    max_seconds: float | None = None
    workers: int = 0
    out: Path | None = None

    @property
    def contrasts(self) -> ContrastSettings | None:
        """Where contrast pictures come from: as told, or as the model has it."""
        told = settings_of(self.contrast, self.translator, self.contrast_options)
        explainer = make_explainer(self.method, self.options)
        return contrasts_for([explainer], told, named_source(self.source)[1])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Result:
    """One photo: its case, scores (1, k) and explanation, or the error that kept it from them."""

    path: Path
    case: Case | None = None
    scores: Scores | None = None
    explanation: Explanation | None = None
    cost: Cost = dataclasses.field(default_factory=Cost)
    error: XaiServeError | None = None


def results(
    wish: Wish,
    explainer: Explainer,
    engine: Engine,
    on_event: Callable[[Case, Event], None],
) -> Iterator[Result]:
    """Explain the photos; results come in their order, those with an error among them.

    Raises
    ------
    InvalidInputError
        The target is no class of the model, the method needs gradients that it has not, or what
        contrast pictures come from is wrong.
    """
    spec = engine.classifier.spec
    target = None if wish.target is None else spec.class_index(wish.target)
    provider = _provider(wish, engine)
    read: deque[Result] = deque()

    def cases() -> Iterator[Case]:
        for paths in _portions(wish.photos, provider.batch if provider else 1):
            portion = [_read(path, wish, engine, target) for path in paths]
            # Made together, while the photos before them are being explained.
            for result in _contrasted(portion, provider):
                read.append(result)
                if result.error is None and result.case is not None:
                    yield result.case

    limits = Limits(max_inputs=wish.max_inputs, max_seconds=wish.max_seconds)
    for outcome in outcomes(
        explainer, engine, cases(), seed=wish.seed, limits=limits, on_event=on_event
    ):
        while read[0].error is not None:
            yield read.popleft()
        yield dataclasses.replace(
            read.popleft(),
            explanation=outcome.explanation,
            cost=outcome.cost,
            error=outcome.error,
        )
    yield from read


def _provider(wish: Wish, engine: Engine) -> ContrastProvider | None:
    if wish.contrasts is None:
        return None
    return open_provider(
        wish.contrasts,
        engine.classifier.spec,
        asker(engine),
        images=len(wish.photos),
        value_range=wish.value_range,
        device=wish.device,
    )


def _portions(photos: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    for start in range(0, len(photos), size):
        yield photos[start : start + size]


def _contrasted(portion: Sequence[Result], provider: ContrastProvider | None) -> Iterator[Result]:
    if provider is None:
        yield from portion
        return
    made = iter(with_contrasts(provider, [each.case for each in portion if each.case is not None]))
    for result in portion:
        if result.case is None:
            yield result
            continue
        found = next(made)
        if isinstance(found, XaiServeError):
            yield dataclasses.replace(result, error=found)
        else:
            yield dataclasses.replace(result, case=found)


def _read(path: Path, wish: Wish, engine: Engine, target: int | None) -> Result:
    """Read and prepare a photo; one model input finds its scores, and so its top class."""
    try:
        case = load_case(
            path,
            engine.classifier,
            0 if target is None else target,
            value_range=wish.value_range,
            context=wish.context,
        )
        plan = scores_plan(case.image)
        scores = engine.submit(plan, about=f"scores of {path}", interactive=True).result()
    except XaiServeError as error:
        return Result(path=path, error=error)
    if target is None:
        case = dataclasses.replace(case, target=int(torch.argmax(scores[0])))
    return Result(path=path, case=case, scores=scores)
