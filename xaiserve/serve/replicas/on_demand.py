"""Many models in one replica: loaded when asked for, put away when others need the memory."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar, runtime_checkable

from xaiserve.dispatch.metrics import Meter
from xaiserve.errors import CapacityError, ModelUnavailableError, NotFoundError, XaiServeError
from xaiserve.serve.observing import metrics

RETRY_S: Final = 5.0
"""What a client is told to wait when all memory is at work."""


@runtime_checkable
class Closable(Protocol):
    """What is held: it ends when it is put away."""

    def close(self) -> None: ...


S = TypeVar("S", bound=Closable)


@dataclass(slots=True, eq=False)
class _Slot(Generic[S]):
    """One model: loading, loaded, and how many requests are at it."""

    bytes: int
    loading: "asyncio.Task[S]"
    users: int = 0


@dataclass(slots=True)
class Shelf(Generic[S]):
    """Holds models within a memory budget; belongs to one event loop.

    The one that was asked for longest ago makes room first; one that is at work never does, nor one
    that loads. A model that cannot be loaded is told so and takes no room; the next request tries
    again.

    Parameters
    ----------
    sizes
        Bytes that each model is counted with.
    budget
        Bytes of all that are held at a time.
    load
        Loads a model; runs beside others.
    """

    sizes: dict[str, int]
    budget: int
    load: Callable[[str], Awaitable[S]]
    meter: Meter
    _slots: "OrderedDict[str, _Slot[S]]" = field(default_factory=OrderedDict)

    @property
    def held(self) -> list[str]:
        """Models that are there or load, the one asked for longest ago first."""
        return list(self._slots)

    @property
    def loaded(self) -> list[S]:
        """What is there; not what loads still."""
        return [slot.loading.result() for slot in self._slots.values() if slot.loading.done()]

    @asynccontextmanager
    async def use(self, name: str) -> AsyncGenerator[S, None]:
        """Hold a model while it is used, after loading it if need be.

        Raises
        ------
        NotFoundError
            There is no such model.
        ModelUnavailableError
            It cannot be loaded.
        CapacityError
            It does not fit beside those that are at work.
        """
        slot = self._slots.get(name) or self._begin(name)
        self._slots.move_to_end(name)
        slot.users += 1
        try:
            # Shielded: whoever hangs up must not end the loading for those who wait as well.
            yield await asyncio.shield(slot.loading)
        finally:
            slot.users -= 1

    def tell(self) -> None:
        """Publish how much is held; again before the exporter forgets it."""
        held = sum(slot.bytes for slot in self._slots.values())
        self.meter.put(metrics.RESIDENT_BYTES, held)

    def close(self) -> None:
        """Put all away."""
        for name in self.held:
            self._remove(name)

    def _begin(self, name: str) -> "_Slot[S]":
        if name not in self.sizes:
            raise NotFoundError(f"model {name!r} is not served on demand")
        self._make_room(name)
        slot = _Slot(self.sizes[name], asyncio.ensure_future(self._loaded(name)))
        self._slots[name] = slot
        self.tell()
        return slot

    async def _loaded(self, name: str) -> S:
        try:
            server = await self.load(name)
        except Exception as error:
            del self._slots[name]
            self.meter.count(metrics.MODEL_LOADS, model=name, outcome="failed")
            self.tell()
            if isinstance(error, XaiServeError):
                raise ModelUnavailableError(f"model {name!r} cannot be loaded: {error}") from error
            raise
        self.meter.count(metrics.MODEL_LOADS, model=name, outcome="loaded")
        return server

    def _make_room(self, name: str) -> None:
        """Put idle models away until ``name`` fits; none when that would not be enough."""
        room = self.budget - self.sizes[name] - sum(slot.bytes for slot in self._slots.values())
        leaving = []
        for other, slot in self._slots.items():
            if room >= 0:
                break
            if not slot.users and slot.loading.done():
                leaving.append(other)
                room += slot.bytes
        if room < 0:
            raise CapacityError(
                f"no memory for model {name!r} beside the models that are at work",
                retry_after_s=RETRY_S,
            )
        for other in leaving:
            self._remove(other)
            self.meter.count(metrics.MODEL_EVICTIONS, model=other)

    def _remove(self, name: str) -> None:
        slot = self._slots.pop(name)
        if slot.loading.done():
            slot.loading.result().close()
        else:
            slot.loading.cancel()
        self.tell()
