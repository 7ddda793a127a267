"""Contrast pictures in a classifier replica: the model's own, and what a request brings or asks."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, get_args

from xaiserve.contrasts.base import Ask, ContrastProvider, check_contrast, with_contrasts
from xaiserve.contrasts.files import read_contrast
from xaiserve.contrasts.gan import GanContrasts
from xaiserve.contrasts.opening import ContrastSettings, open_provider
from xaiserve.errors import (
    InvalidInputError,
    ModelUnavailableError,
    QueryBudgetError,
    XaiServeError,
)
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.case import Case
from xaiserve.serve.incoming.requests import Offered, Upload
from xaiserve.storage.pictures import PictureLimits

UPLOAD: Final = "upload"

OpenOwn = Callable[[ModelSpec, Ask], ContrastProvider]
"""Opens what a model's own contrast pictures come from."""


class Contrasts:
    """Makes contrast pictures on threads of its own, so that waiting for them holds up nobody else.

    Parameters
    ----------
    model
        The model's name.
    ask
        Asks the classifier; called on those threads.
    limits
        What is refused of an uploaded picture.
    own, open_own
        Name of the model's own provider, and what opens it on first use; none when it has none.
    threads
        How many requests may wait for contrast pictures at once.
    """

    def __init__(
        self,
        model: str,
        spec: ModelSpec,
        ask: Ask,
        *,
        limits: PictureLimits,
        threads: int,
        own: str | None = None,
        open_own: OpenOwn | None = None,
    ) -> None:
        self._model = model
        self._spec = spec
        self._ask = ask
        self._limits = limits
        self._own = own
        self._open_own = open_own
        self._opened: dict[str, ContrastProvider] = {}
        self._digest: str | None = None
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="contrast")

    @property
    def names(self) -> list[str]:
        """What requests can have: the model's own first, if there is one."""
        return [*([self._own] if self._own else []), UPLOAD, *get_args(Offered)]

    @property
    def digest(self) -> str | None:
        """Of the model's own provider, once it is open."""
        return self._digest

    def close(self) -> None:
        """Give up what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def add(self, case: Case, wished: Upload | Offered | None, seconds: float | None) -> Case:
        """Return the case with its contrast picture.

        Parameters
        ----------
        wished
            What the request brings or asks for; the model's own when none.
        seconds
            How long that may take.

        Raises
        ------
        InvalidInputError
            The picture that was sent is wrong, or the model has none of its own.
        ModelUnavailableError
            The translator does not answer, or not in ``seconds``.
        NoExplanationError
            There is no contrast picture for this image.
        QueryBudgetError
            ``seconds`` were not enough for what is made in this process.
        """
        making = asyncio.get_running_loop().run_in_executor(self._pool, self._added, case, wished)
        try:
            async with asyncio.timeout(seconds):
                return await making
        except TimeoutError:
            if wished is None and self._own == GanContrasts.name:
                raise ModelUnavailableError(
                    f"the translator of model {self._model!r} did not answer in {seconds:.3g} s"
                ) from None
            raise QueryBudgetError(
                f"max_seconds was spent before image {case.name or case.image_id[:12]} had its "
                "contrast picture"
            ) from None

    def _added(self, case: Case, wished: Upload | Offered | None) -> Case:
        if isinstance(wished, Upload):
            return self._with_upload(case, wished)
        (found,) = with_contrasts(self._provider(wished), [case])
        if isinstance(found, XaiServeError):
            raise found
        return found

    def _with_upload(self, case: Case, upload: Upload) -> Case:
        contrast = read_contrast(
            upload.data,
            case,
            self._spec,
            name=upload.name,
            limits=self._limits,
            value_range=upload.value_range,
        )
        check_contrast(case, contrast)
        return dataclasses.replace(case, contrast=contrast)

    def _provider(self, wished: Offered | None) -> ContrastProvider:
        with self._lock:
            name = wished or ""
            if name not in self._opened:
                self._opened[name] = self._open(wished)
            return self._opened[name]

    def _open(self, wished: Offered | None) -> ContrastProvider:
        if wished is not None:
            return open_provider(ContrastSettings(contrast=wished), self._spec, self._ask)
        if self._open_own is None:
            raise InvalidInputError(
                f"model {self._model!r} has no contrast pictures of its own: send one in the form "
                f"field 'contrast', or ask for contrast={' or contrast='.join(get_args(Offered))}"
            )
        own = self._open_own(self._spec, self._ask)
        self._digest = own.digest
        return own
