"""Explanations that are answered later: accepted, worked on, fetched."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from xaiserve.errors import (
    CapacityError,
    ModelUnavailableError,
    NotFoundError,
    StoreUnavailableError,
)
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.results import ResultBody, ResultsBody, State
from xaiserve.serve.bodies.told import ProgressBody
from xaiserve.serve.incoming.requests import ClassifierPort, ExplainRequest
from xaiserve.serve.kept.accepted import Accepted
from xaiserve.serve.kept.explanations import Explanations
from xaiserve.serve.kept.patience import retry_after
from xaiserve.serve.kept.result_store import Claim, Ended, ResultStore
from xaiserve.serve.kept.threads import completed
from xaiserve.serve.problem_details import MEDIA_TYPE
from xaiserve.serve.problems import problem_of

_log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S: Final = 5.0
"""How often pending results are looked through for such that nobody works on."""

RENEW_S: Final = 3.0
"""How often a claim is written, and with it the progress."""

SWEEP_S: Final = 600.0
"""How often what was kept long enough is looked for."""


class _NotNowError(Exception):
    """There is no answer at present; the place is better given to another result."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Results:
    """Accepts, works on and answers results; belongs to one event loop.

    Any number of processes may share the store: a result is worked on by whoever claims it, and by
    another when that one dies.

    Parameters
    ----------
    running
        Results that this process works on at once.
    waiting
        Results that may be pending in all; more are refused.
    keep_s
        How long a result is kept, from its acceptance.
    max_seconds
        The largest budget that one may have.
    sweeps
        What else is called to forget what was kept long enough.
    look_s, renew_s
        See `LOOK_S` and `RENEW_S`.
    """

    def __init__(
        self,
        store: ResultStore,
        explanations: Explanations,
        models: Mapping[str, ClassifierPort],
        *,
        running: int,
        waiting: int,
        keep_s: float,
        max_seconds: float,
        sweeps: Sequence[Callable[[], None]] = (),
        look_s: float = LOOK_S,
        renew_s: float = RENEW_S,
    ) -> None:
        self.max_seconds = max_seconds
        self._store = store
        self._explanations = explanations
        self._models = models
        self._running = running
        self._waiting = waiting
        self._keep_s = keep_s
        self._sweeps = (store.sweep, *sweeps)
        self._look_s = look_s
        self._renew_s = renew_s
        self._news = asyncio.Event()
        self._work: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}

    # -- for whoever asks ------------------------------------------------------------------------

    async def accept(self, request: ExplainRequest, model: str, owner: str) -> ResultBody:
        """Keep a request, to be answered later.

        Raises
        ------
        CapacityError
            Too many are pending.
        StoreUnavailableError
            It cannot be kept, and so is not accepted.
        """
        pending = await asyncio.to_thread(self._store.pending)
        if len(pending) >= self._waiting:
            raise CapacityError(
                f"no place for more results: {len(pending)} are pending", retry_after_s=self._look_s
            )
        accepted = await asyncio.to_thread(self._store.accept, request, model, owner)
        self._news.set()
        return await self.describe(accepted.id, owner)

    async def describe(self, name: str, owner: str) -> ResultBody:
        """Say what was asked for and how far it is; raises what `ResultStore.document` raises."""
        return await asyncio.to_thread(self._described, name, owner)

    async def fetch(self, name: str, owner: str) -> Ended | ResultBody:
        """Return the final answer, or how far it is; raises what `describe` raises."""
        body = await self.describe(name, owner)
        if body.state in {"pending", "running"}:
            return body
        return await asyncio.to_thread(self._store.ended, name)

    async def list(self, owner: str, *, limit: int, before: str | None) -> ResultsBody:
        """List an owner's results, newest first."""
        return await asyncio.to_thread(self._listed, owner, limit, before)

    async def forget(self, name: str, owner: str) -> None:
        """Cancel and remove a result; raises what `describe` raises."""
        await asyncio.to_thread(self._store.document, name, owner)
        await asyncio.to_thread(self._store.forget, name, owner)
        if name in self._work:
            self._work[name].cancel()

    def _described(self, name: str, owner: str) -> ResultBody:
        document = self._store.document(name, owner)
        mark, progress = self._store.mark(name), {}
        if mark is None:
            progress = self._store.progress(name)
            # It may have ended between the two.
            mark = self._store.mark(name)
        state: State = "running" if progress else "pending"
        if mark is not None:
            state = "done" if mark["status"] < 400 else "failed"  # noqa: PLR2004
        told = None if mark is not None else progress.get("progress")
        return ResultBody(
            id=name,
            state=state,
            url=f"/v1/results/{name}",
            model=document["model"],
            method=document["method"],
            name=document["image"]["name"],
            accepted=document["at"],
            kept_until=document["at"] + self._keep_s,
            progress=None if told is None else ProgressBody(**told),
        )

    def _listed(self, owner: str, limit: int, before: str | None) -> ResultsBody:
        found: list[ResultBody] = []
        for name in self._store.names(owner):
            if before is not None and name >= before:
                continue
            if len(found) == limit:
                return ResultsBody(results=found, next=found[-1].id)
            with suppress(NotFoundError):  # removed meanwhile
                found.append(self._described(name, owner))
        return ResultsBody(results=found, next=None)

    # -- the work --------------------------------------------------------------------------------

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None, None]:
        """Work on pending results; what is not ready at the end is left to others at once."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            # Only now: what was claimed last has begun, and so lets its claim go.
            tasks = list(self._work.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        swept = -SWEEP_S
        while True:
            try:
                if time.monotonic() - swept > SWEEP_S:
                    swept = time.monotonic()
                    for sweep in self._sweeps:
                        await asyncio.to_thread(sweep)
                await self._take()
            except StoreUnavailableError as error:
                _log.warning("pending results wait: %s", error)
            except Exception:  # noqa: BLE001 -- nobody else would look again
                _log.exception("pending results wait; they are looked through again")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next()):
                    await self._news.wait()
            self._news.clear()

    def _until_next(self) -> float:
        now = time.monotonic()
        waits = [due - now for due in self._not_before.values() if due > now]
        # Not for each of many alone: a look lists all that is pending.
        return max(self._look_s / 10, min([self._look_s, *waits]))

    async def _take(self) -> None:
        pending = await asyncio.to_thread(self._store.pending)
        now = time.monotonic()
        self._not_before = {name: self._not_before.get(name, now) for name in pending}
        # What waits for a model that is not there comes after all that were there before its time
        # to be tried, and before those that come later, or it would wait as long as others come.
        for name in sorted(pending, key=lambda name: (self._not_before[name], name)):
            if len(self._work) >= self._running:
                return
            if name in self._work or self._not_before[name] > time.monotonic():
                continue
            marks = pending[name]
            claim = await completed(
                partial(self._store.claim, name, marks),
                undo=self._let_go,
            )
            if claim is not None:
                self._work[name] = asyncio.create_task(self._worked(claim))

    def _let_go(self, claim: Claim | None) -> None:
        if claim is not None:
            self._store.release(claim)

    async def _worked(self, claim: Claim) -> None:
        try:
            await self._answer(claim)
        except _NotNowError as error:
            self._not_before[claim.id] = time.monotonic() + error.retry_after_s
        except StoreUnavailableError as error:
            _log.warning("result %s is left to whoever claims it next: %s", claim.id, error)
        finally:
            del self._work[claim.id]
            self._news.set()

    async def _answer(self, claim: Claim) -> None:
        """Work on one result to its end, unless the claim is lost or it was forgotten."""
        told: dict[str, Any] = {}  # Any: JSON
        work = asyncio.ensure_future(self._ended(claim, told))
        try:
            while not (await asyncio.wait({work}, timeout=self._renew_s))[0]:
                if not await self._held(claim, told):
                    return
            await completed(partial(self._store.finish, claim, work.result()))
        except (asyncio.CancelledError, _NotNowError):
            await completed(partial(self._store.release, claim))
            raise
        finally:
            if work.cancel():
                await asyncio.wait({work})

    async def _held(self, claim: Claim, told: Mapping[str, Any]) -> bool:
        try:
            return await completed(partial(self._store.renew, claim, told))
        except StoreUnavailableError as error:
            _log.warning("the claim on result %s is not renewed: %s", claim.id, error)
            return True

    async def _ended(self, claim: Claim, told: dict[str, Any]) -> Ended:
        try:
            accepted = await asyncio.to_thread(self._store.request, claim.id)
            if accepted is None:
                raise NotFoundError(f"result {claim.id!r} was removed")  # noqa: TRY301
            told["progress"] = None
            body = await self._explained(accepted, told)
            return Ended(200, "application/json", body.model_dump_json().encode())
        except Exception as error:  # whatever else it was is the answer
            wait_s = retry_after(error)
            if wait_s is not None:
                raise _NotNowError(wait_s) from error
            problem = problem_of(error)
            data = json.dumps(problem.body).encode()
            return Ended(problem.kind.status, MEDIA_TYPE, data)

    async def _explained(self, accepted: Accepted, told: dict[str, Any]) -> ExplainBody:
        name = accepted.model
        if name not in self._models:
            raise NotFoundError(f"model {name!r} is not served any more")
        stream = self._explanations.stream(name, self._models[name], accepted.request)
        async with aclosing(stream) as listening:
            async for each in listening:
                if isinstance(each, ExplainBody):
                    return each
                if isinstance(each, ProgressBody):
                    told["progress"] = each.model_dump()
        raise ModelUnavailableError(f"model {name!r} did not answer")
