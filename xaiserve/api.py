"""Explain cases here and now, in one process: the front door, for people and for services."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path

from xaiserve.contrasts.base import check_contrast
from xaiserve.contrasts.files import read_contrast
from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.explainers.base import Explainer, Explanation, GradientExplainer, needs_of
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.models.preparing import prepare
from xaiserve.perturb.case import Case
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Event, QueryPlan, ask
from xaiserve.perturb.query import Pixels
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.ticket import Cost, Limits, Ticket
from xaiserve.storage.pictures import PictureLimits, decode
from xaiserve.types import Image, Scores

BYTES_AHEAD = 1 << 30
"""Stated bytes of cases that may be in flight at once when many are explained."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcome:
    """What became of one case: an explanation or an error, and what it cost."""

    case: Case
    explanation: Explanation | None
    error: XaiServeError | None
    cost: Cost


def load_case(
    source: str | Path | bytes,
    model: Classifier,
    target: int | str | None = None,
    *,
    name: str = "",
    limits: PictureLimits | None = None,
    value_range: tuple[float, float] | None = None,
    context: str | Path | bytes | None = None,
    contrast: str | Path | bytes | None = None,
) -> Case:
    """Read a picture and prepare it for ``model``.

    Parameters
    ----------
    source
        A path, or the file's bytes.
    target
        Class index or label; the class the model ranks first when none (one model input).
    name
        A label for people; the file's name when none.
    limits
        What is refused before decoding.
    value_range
        The values of a 16-bit or float grey picture that become 0 and 1; its type's range when
        none.
    context
        A second picture, prepared like the first, for methods that hide pixels behind one.
    contrast
        The same picture as it would look in another class, for methods that compare with one; of
        the size of the first, or of the model's input. See `xaiserve.contrasts` for others.

    Raises
    ------
    InvalidInputError
        A picture cannot be read or is over a limit, or the target is no class of the model.
    """
    limits = limits or PictureLimits()
    picture = decode(_bytes(source), limits=limits, value_range=value_range)
    image, frame = prepare(picture, model.spec)
    behind = None
    if context is not None:
        second = decode(_bytes(context), limits=limits, value_range=value_range)
        behind, _ = prepare(second, model.spec)
    index = _top_class(image, model) if target is None else model.spec.class_index(target)
    case = Case(
        image_id=picture.sha256,
        image=image,
        target=index,
        neutral=model.spec.neutral,
        unit=model.spec.unit,
        context=behind,
        rule=model.spec.rule,
        frame=frame,
        name=name or ("" if isinstance(source, bytes) else Path(source).name),
        notes=picture.notes,
    )
    return case if contrast is None else _contrasted(case, contrast, model, limits, value_range)


def _contrasted(
    case: Case,
    contrast: str | Path | bytes,
    model: Classifier,
    limits: PictureLimits,
    value_range: tuple[float, float] | None,
) -> Case:
    made = read_contrast(
        _bytes(contrast),
        case,
        model.spec,
        name="" if isinstance(contrast, bytes) else Path(contrast).name,
        limits=limits,
        value_range=value_range,
    )
    check_contrast(case, made)
    return replace(case, contrast=made)


def _bytes(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    path = Path(source)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"image {path} cannot be read: {error.strerror}") from error


def _top_class(image: Image, model: Classifier) -> int:
    return int(run(scores_plan(image), model)[0].argmax())


def scores_plan(image: Image, *, alone: bool = True) -> QueryPlan[Scores]:
    """Ask for the scores (1, k) of one picture, alone, so that company cannot move them.

    Otherwise they share a batch with whatever else has asked, many times faster, and may differ in
    the last digits (3e-6 to 1e-5).
    """
    return (yield from ask(Pixels(image.unsqueeze(0), alone=alone)))


def start(
    engine: Engine,
    explainer: Explainer,
    case: Case,
    *,
    seed: int = 0,
    limits: Limits | None = None,
    interactive: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Ticket[Explanation]:
    """Set one explanation going on ``engine`` and return its ticket.

    Raises
    ------
    InvalidInputError
        The method needs gradients and the model has none, or a contrast picture and the case has
        none.
    """
    if "contrast" in needs_of(explainer) and case.contrast is None:
        raise InvalidInputError(
            f"{explainer.name} compares the image with a contrast picture, and there is none: name "
            "a translator, or where contrast pictures come from"
        )
    keys = Keys.root(seed, case.image_id).child(explainer.name)
    about = f"{explainer.name} on image {case.name or case.image_id[:12]}"
    if isinstance(explainer, GradientExplainer):
        model = engine.classifier.gradients()
        return engine.submit_steps(
            explainer.attribute(model, case, keys),
            about=about,
            limits=limits,
            interactive=interactive,
            bytes_in_flight=explainer.bytes_in_flight(case),
            on_event=on_event,
        )
    return engine.submit(
        explainer.plan(case, keys),
        about=about,
        limits=limits,
        interactive=interactive,
        bytes_in_flight=explainer.bytes_in_flight(case),
        on_event=on_event,
    )


def outcomes(
    explainer: Explainer,
    engine: Engine,
    cases: Iterable[Case],
    *,
    seed: int = 0,
    limits: Limits | None = None,
    bytes_ahead: int = BYTES_AHEAD,
    on_event: Callable[[Case, Event], None] = lambda _case, _event: None,
) -> Iterator[Outcome]:
    """Explain ``cases`` with many in flight; outcomes come in the order of the cases.

    A case that fails becomes an outcome with an error and the others go on. ``cases`` is read only
    as far ahead as ``bytes_ahead`` allows.
    """
    flying: deque[tuple[Case, Ticket[Explanation], int]] = deque()
    held = 0
    try:
        for case in cases:
            need = explainer.bytes_in_flight(case)
            while flying and held + need > bytes_ahead:
                held -= flying[0][2]
                yield _next_outcome(flying)
            ticket = start(
                engine,
                explainer,
                case,
                seed=seed,
                limits=limits,
                on_event=lambda event, case=case: on_event(case, event),  # type: ignore[misc]
            )
            flying.append((case, ticket, need))
            held += need
            while flying and flying[0][1].future.done():
                held -= flying[0][2]
                yield _next_outcome(flying)
        while flying:
            yield _next_outcome(flying)
    finally:
        for _, ticket, _ in flying:
            ticket.cancel()


def _next_outcome(flying: "deque[tuple[Case, Ticket[Explanation], int]]") -> Outcome:
    """Wait for the first; it stays among ``flying`` meanwhile, so that an interrupt cancels it."""
    case, ticket, _ = flying[0]
    outcome = _outcome(case, ticket)
    flying.popleft()
    return outcome


def _outcome(case: Case, ticket: Ticket[Explanation]) -> Outcome:
    try:
        explanation = ticket.result()
    except XaiServeError as error:
        return Outcome(case=case, explanation=None, error=error, cost=ticket.cost)
    except CancelledError:
        raise RuntimeError(f"{ticket.about} was cancelled by another thread") from None
    return Outcome(case=case, explanation=explanation, error=None, cost=ticket.cost)


def explain_many(
    explainer: Explainer | str,
    model: Classifier,
    cases: Iterable[Case],
    seed: int = 0,
    options: Mapping[str, object] | None = None,
) -> Iterator[Explanation]:
    """Stream cases in and explanations out, in order, many in flight on one engine.

    Parameters
    ----------
    explainer
        A method's name, or an instance.
    options
        Parameters of the method; only with a name.

    Raises
    ------
    XaiServeError
        The first case that has no explanation raises its error; use `outcomes` to go on.
    """
    method = _method(explainer, options)
    with Engine(model) as engine:
        for outcome in outcomes(method, engine, cases, seed=seed):
            if outcome.explanation is None:
                raise outcome.error or InvalidInputError(f"{outcome.case.name}: no explanation")
            yield outcome.explanation


def explain(
    explainer: Explainer | str,
    model: Classifier,
    cases: Iterable[Case],
    seed: int = 0,
    options: Mapping[str, object] | None = None,
) -> list[Explanation]:
    """Explain ``cases`` and return one explanation per case, in order; see `explain_many`."""
    return list(explain_many(explainer, model, cases, seed, options))


def _method(explainer: Explainer | str, options: Mapping[str, object] | None) -> Explainer:
    if isinstance(explainer, str):
        return make_explainer(explainer, options)
    if options:
        raise InvalidInputError("options go with a method's name; set them on the instance instead")
    return explainer
