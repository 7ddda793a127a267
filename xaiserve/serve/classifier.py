"""`ClassifierServer`: what one classifier replica does, free of HTTP and of Ray."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator
from concurrent.futures import CancelledError
from contextlib import aclosing
from typing import TypeVar

from xaiserve.api import load_case, scores_plan, start
from xaiserve.contrasts.base import asker
from xaiserve.errors import (
    CapacityError,
    ModelUnavailableError,
    NoExplanationError,
    QueryBudgetError,
    XaiServeError,
)
from xaiserve.explainers.base import Explanation, GradientExplainer, needs_of
from xaiserve.models.classifier import Classifier
from xaiserve.models.spec_json import spec_to_json
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Event, QueryPlan
from xaiserve.perturb.ticket import Cost, Limits, Ticket
from xaiserve.report.document import scores_document
from xaiserve.report.subject import Subject
from xaiserve.serve import answers
from xaiserve.serve.admission import Places
from xaiserve.serve.config import Queue
from xaiserve.serve.contrasting import Contrasts, OpenOwn
from xaiserve.serve.metrics import Meter, NoMeter
from xaiserve.serve.requests import (
    ExplainRequest,
    PredictRequest,
    Scored,
    ScoreRequest,
    Upload,
)
from xaiserve.serve.schemas import ExplainBody, ModelBody, PredictBody, ScoreBody
from xaiserve.serve.scoring import images_of, scores_of
from xaiserve.serve.telling import Telling, Told
from xaiserve.serve.tracing import Batches, span
from xaiserve.serve.watching import Explaining, Watch
from xaiserve.storage.pictures import PictureLimits
from xaiserve.types import Scores

T = TypeVar("T")


class ClassifierServer:
    """Serve one model: every request becomes a plan on one engine.

    All methods belong to one event loop. A request that is cancelled, because its client has gone
    say, stops its plan within one batch.

    Parameters
    ----------
    classifier
        The model; only the engine's thread calls it.
    queue
        Places for explanations and predicts.
    limits
        What is refused of a picture before it is decoded.
    draw
        Makes the overlay.
    contrast, open_contrasts
        Name of what makes the model's own contrast pictures, and what opens that on first use;
        none when it has none.
    meter
        Where numbers go; nowhere when none.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        queue: Queue,
        limits: PictureLimits,
        draw: answers.Draw,
        contrast: str | None = None,
        open_contrasts: OpenOwn | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._classifier = classifier
        self._watch = Watch(classifier.name, meter or NoMeter())
        self._batches = Batches()
        self._engine = Engine(classifier, on_batch=self._batches.note)
        self._limits = limits
        self._draw = draw
        self._contrasts = Contrasts(
            classifier.name,
            classifier.spec,
            asker(self._engine, interactive=True),
            limits=limits,
            threads=queue.running,
            own=contrast,
            open_own=open_contrasts,
        )
        self._retry_after_s = queue.retry_after_s
        self._explanations = Places(
            "explanations",
            running=queue.running,
            waiting=queue.waiting,
            retry_after_s=queue.retry_after_s,
        )
        self._predicts = Places(
            "predicts", running=queue.predicts, waiting=0, retry_after_s=queue.retry_after_s
        )

    def close(self) -> None:
        """Cancel what is in flight and end the engine; safe to call twice."""
        self._contrasts.close()
        self._engine.close()

    async def card(self) -> ModelBody:
        """Describe the model."""
        model, spec = self._classifier, self._classifier.spec
        return ModelBody(
            name=model.name,
            ready=True,
            digest=model.digest,
            height=spec.height,
            width=spec.width,
            channels=spec.channels,
            activation=spec.activation,
            thresholds=list(spec.rule.thresholds),
            labels=list(spec.labels),
            device=str(model.device),
            batch_rows=model.batch_rows,
            contrasts=self._contrasts.names,
            contrast_digest=self._contrasts.digest,
            in_flight=self._engine.in_flight,
            specification=spec_to_json(spec),
        )

    async def check(self) -> None:
        """Score one grey picture the way requests do; raise what is wrong."""
        spec = self._classifier.spec
        grey = spec.neutral.expand(spec.channels, spec.height, spec.width).contiguous()
        await self._run(scores_plan(grey))
        self.sample()

    @property
    def pending_inputs(self) -> float:
        """Model inputs to come: those that wait, or what explanations here are likely to ask.

        A search asks a little at a time, so that what waits says little of what it will ask.
        """
        return max(self._engine.pending_inputs, self._watch.inputs_to_come)

    def sample(self) -> None:
        """Publish the engine's numbers: with each answer, and whenever Serve checks its health."""
        waiting = self._explanations.waiting
        self._watch.sample(self._engine, waiting=waiting, pending=self.pending_inputs)

    async def predict(self, request: PredictRequest) -> PredictBody:
        """Score one picture, in one batch with others that are there.

        Raises
        ------
        InvalidInputError
            The picture is wrong or over a limit.
        CapacityError
            Too many predicts are in flight.
        """
        async with self._predicts.place():
            case = await self._load(request.upload, target=0)
            scores = await self._run(scores_plan(case.image, alone=False))
        self.sample()
        spec = self._classifier.spec
        return PredictBody(
            model=self._classifier.name,
            model_digest=self._classifier.digest,
            image_id=case.image_id,
            decided=answers.decided_classes(scores, spec),
            scores=[ScoreBody(**one) for one in scores_document(scores, spec, request.top)],
            notes=list(case.notes),
        )

    async def score(self, request: ScoreRequest) -> Scored:
        """Score pictures in the engine's batches, together with whatever else is asked.

        Raises
        ------
        InvalidInputError
            A picture is wrong, over a limit or not of the model's size.
        CapacityError
            Too many predicts are in flight.
        """
        async with self._predicts.place():
            images = await asyncio.to_thread(
                images_of, request.pictures, self._classifier.spec, self._limits
            )
            ticket = self._engine.submit(
                scores_of(images, alone=request.alone),
                interactive=True,
                bytes_in_flight=images.nbytes,
            )
            scores = await finished(ticket)
        return Scored(scores=scores, model_digest=self._classifier.digest)

    async def explain(self, request: ExplainRequest) -> ExplainBody:
        """Explain one picture; a spent budget gives what was found, marked incomplete.

        Raises
        ------
        InvalidInputError
            The picture, the contrast picture or the target is wrong, or the method needs what the
            model lacks: gradients, a contrast picture.
        ModelUnavailableError
            The translator does not answer.
        QueryBudgetError
            The budget was spent before anything was found.
        CapacityError
            No place came free within the budget.
        """
        return await self._explain(request)

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Told, None]:
        """Explain one picture and tell of it meanwhile; raises what `explain` raises."""
        telling = Telling()
        answer = asyncio.ensure_future(self._explain(request, telling))
        try:
            async with aclosing(telling.until(answer)) as told:
                async for each in told:
                    yield each
            yield await answer
        finally:
            answer.cancel()
            telling.end()

    async def _explain(
        self, request: ExplainRequest, telling: Telling | None = None
    ) -> ExplainBody:
        seconds = request.limits.max_seconds
        with self._watch.explanation(request.explainer.name) as seen:
            try:
                async with self._explanations.place(patience_s=seconds) as waited_s:
                    seen.waited_s = waited_s
                    return seen.answered(await self._explained(request, seen, telling))
            finally:
                self.sample()

    async def _explained(
        self, request: ExplainRequest, seen: Explaining, telling: Telling | None
    ) -> ExplainBody:
        waited_s = seen.waited_s
        started = time.monotonic() - waited_s
        wished = 0 if request.target is None else request.target
        index = self._classifier.spec.class_index(wished)
        case = await self._load(request.upload, target=index)
        scores = await self._run(scores_plan(case.image))
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
                raise self._blamed(error, request, spent_s) from error
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

    def _blamed(
        self, error: QueryBudgetError, request: ExplainRequest, spent_s: float
    ) -> XaiServeError:
        """Say that the service was full where waiting, not the method, spent the budget."""
        seconds = request.limits.max_seconds
        if seconds is None or spent_s < seconds / 2:
            return error
        contrast = " and the contrast picture" * ("contrast" in needs_of(request.explainer))
        return CapacityError(
            f"waiting for a place{contrast} took {spent_s:.1f} s of max_seconds = {seconds:g}",
            retry_after_s=self._retry_after_s,
        )

    async def _load(self, upload: Upload, target: int) -> Case:
        with span("load"):
            return await asyncio.to_thread(
                load_case,
                upload.data,
                self._classifier,
                # Given always: finding the top class belongs to the engine's thread, not to this.
                target,
                name=upload.name,
                limits=self._limits,
                value_range=upload.value_range,
            )

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

    async def _run(self, plan: QueryPlan[Scores]) -> Scores:
        return await finished(self._engine.submit(plan, interactive=True))


def _unheard(_: Event) -> None:
    pass


async def finished(ticket: Ticket[T]) -> T:
    """Wait for a ticket without a thread; cancelling the wait cancels the plan.

    Raises
    ------
    ModelUnavailableError
        The engine was closed meanwhile.
    """
    # Not `asyncio.wrap_future`: its cancellation would reach into the future that the engine's
    # thread is about to resolve.
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    ticket.future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    try:
        await done.wait()
        return ticket.result()
    except asyncio.CancelledError:
        ticket.cancel()
        raise
    except CancelledError:
        raise ModelUnavailableError("the replica is shutting down") from None
