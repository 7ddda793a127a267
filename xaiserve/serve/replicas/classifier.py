"""`ClassifierServer`: what one classifier replica does, free of HTTP and of Ray."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from xaiserve.api import scores_plan
from xaiserve.contrasts.base import asker
from xaiserve.dispatch.metrics import Meter, NoMeter
from xaiserve.models.classifier import Classifier
from xaiserve.models.spec_json import spec_to_json
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import QueryPlan
from xaiserve.report.document import scores_document
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.scores import PredictBody, ScoreBody
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.config import Queue
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Scored, ScoreRequest
from xaiserve.serve.observing.tracing import Batches
from xaiserve.serve.replicas import answers
from xaiserve.serve.replicas.admission import Places
from xaiserve.serve.replicas.cases import case_of
from xaiserve.serve.replicas.contrasting import Contrasts, OpenOwn
from xaiserve.serve.replicas.finishing import finished
from xaiserve.serve.replicas.scoring import images_of, scores_of
from xaiserve.serve.replicas.searching import Searches
from xaiserve.serve.replicas.telling import Telling
from xaiserve.serve.replicas.watching import Watch
from xaiserve.storage.pictures import PictureLimits
from xaiserve.types import Scores


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
        batches = Batches()
        self._engine = Engine(classifier, on_batch=batches.note)
        self._limits = limits
        self._contrasts = Contrasts(
            classifier.name,
            classifier.spec,
            asker(self._engine, interactive=True),
            limits=limits,
            threads=queue.running,
            own=contrast,
            open_own=open_contrasts,
        )
        self._searches = Searches(
            classifier,
            self._engine,
            self._contrasts,
            batches,
            limits=limits,
            draw=draw,
            retry_after_s=queue.retry_after_s,
        )
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
            case = await case_of(request.upload, self._classifier, self._limits, target=0)
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
                    return seen.answered(await self._searches.explained(request, seen, telling))
            finally:
                self.sample()

    async def _run(self, plan: QueryPlan[Scores]) -> Scores:
        return await finished(self._engine.submit(plan, interactive=True))
