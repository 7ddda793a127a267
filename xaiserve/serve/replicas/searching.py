"""From an explain request to its answer, on one model's engine."""

import asyncio
import dataclasses
import time

from xaiserve.api import scores_plan, start
from xaiserve.errors import CapacityError, NoExplanationError, QueryBudgetError, XaiServeError
from xaiserve.explainers.base import Explanation, GradientExplainer, needs_of
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Event
from xaiserve.perturb.ticket import Cost, Limits, Ticket
from xaiserve.report.subject import Subject
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.incoming.requests import ExplainRequest
from xaiserve.serve.observing.tracing import Batches, span
from xaiserve.serve.replicas import answers
from xaiserve.serve.replicas.cases import case_of
from xaiserve.serve.replicas.contrasting import Contrasts
from xaiserve.serve.replicas.finishing import finished
from xaiserve.serve.replicas.telling import Telling
from xaiserve.serve.replicas.watching import Explaining
from xaiserve.storage.pictures import PictureLimits
from xaiserve.types import Scores


class Searches:
    """Explain requests at work on one engine.

    Parameters
    ----------
    engine
        Works on their plans; its batches go to ``batches``.
    contrasts
        Makes the pictures that some methods compare with.
    limits, draw
        As `ClassifierServer` takes them.
    retry_after_s
        When a request may be sent again that waited too long here.
    """

    def __init__(
        self,
        classifier: Classifier,
        engine: Engine,
        contrasts: Contrasts,
        batches: Batches,
        *,
        limits: PictureLimits,
        draw: answers.Draw,
        retry_after_s: float,
    ) -> None:
        self._classifier = classifier
        self._engine = engine
        self._contrasts = contrasts
        self._batches = batches
        self._limits = limits
        self._draw = draw
        self._retry_after_s = retry_after_s

    async def explained(
        self, request: ExplainRequest, seen: Explaining, telling: Telling | None
    ) -> ExplainBody:
        """Answer a request that has a place; a spent budget gives what was found.

        Raises what `ClassifierServer.explain` raises.
        """
        waited_s = seen.waited_s
        started = time.monotonic() - waited_s
        wished = 0 if request.target is None else request.target
        index = self._classifier.spec.class_index(wished)
        case = await case_of(request.upload, self._classifier, self._limits, target=index)
        scores = await finished(self._engine.submit(scores_plan(case.image), interactive=True))
        if request.target is None:
            case = dataclasses.replace(case, target=int(scores[0].argmax()))
        if isinstance(request.explainer, GradientExplainer):
            # Loads on first use; here, so that nothing is awaited between start and wait, and
            # no plan is left running by a cancellation in between.
            await asyncio.to_thread(self._classifier.gradients)
        try:
            case = await self._contrasted(request, case, started)
        except NoExplanationError as error:
            return self._answer(request, case, scores, waited_s).none(str(error), Cost())
        spent_s = time.monotonic() - started
        answer = self._answer(request, case, scores, waited_s)
        with span("plan") as plan:
            ticket = self._start(request, case, spent_s, telling)
            self._batches.follow(ticket, plan)
            seen.ticket = ticket
            if telling is not None:
                telling.begin(ticket, answer.subject)
            try:
                explanation = await finished(ticket)
            except NoExplanationError as error:
                return answer.none(str(error), ticket.cost)
            except QueryBudgetError as error:
                raise blamed(error, request, spent_s, self._retry_after_s) from error
        return await asyncio.to_thread(answer.explained, explanation, ticket.cost)

    def _answer(
        self, request: ExplainRequest, case: Case, scores: Scores, waited_s: float
    ) -> answers.Answer:
        subject = Subject(
            classifier=self._classifier,
            explainer=request.explainer,
            seed=request.seed,
            case=case,
            scores=scores,
            frame_name=request.frame,
        )
        return answers.Answer(
            request=request,
            subject=subject,
            waited_s=waited_s,
            limits=self._limits,
            draw=self._draw,
        )

    async def _contrasted(self, request: ExplainRequest, case: Case, started: float) -> Case:
        if "contrast" not in needs_of(request.explainer):
            return case
        seconds = request.limits.max_seconds
        left = None if seconds is None else max(0.0, started + seconds - time.monotonic())
        return await self._contrasts.add(case, request.contrast, left)

    def _start(
        self, request: ExplainRequest, case: Case, spent_s: float, telling: Telling | None
    ) -> Ticket[Explanation]:
        limits = request.limits
        if limits.max_seconds is not None:
            left = max(limits.max_seconds - spent_s, 1e-3)
            limits = Limits(max_inputs=limits.max_inputs, max_seconds=left)
        return start(
            self._engine,
            request.explainer,
            case,
            seed=request.seed,
            limits=limits,
            interactive=True,
            on_event=_unheard if telling is None else telling.hear,
        )


def _unheard(_: Event) -> None:
    pass


def blamed(
    error: QueryBudgetError, request: ExplainRequest, spent_s: float, retry_after_s: float
) -> XaiServeError:
    """Say that the service was full where waiting, not the method, spent the budget."""
    seconds = request.limits.max_seconds
    if seconds is None or spent_s < seconds / 2:
        return error
    contrast = " and the contrast picture" * ("contrast" in needs_of(request.explainer))
    return CapacityError(
        f"waiting for a place{contrast} took {spent_s:.1f} s of max_seconds = {seconds:g}",
        retry_after_s=retry_after_s,
    )
