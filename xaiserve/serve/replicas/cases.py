"""From an uploaded picture to the case of one model."""

import asyncio

from xaiserve.api import load_case
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Case
from xaiserve.serve.incoming.requests import Upload
from xaiserve.serve.observing.tracing import span
from xaiserve.storage.pictures import PictureLimits


async def case_of(
    upload: Upload, classifier: Classifier, limits: PictureLimits, *, target: int
) -> Case:
    """Decode and prepare a picture on a thread.

    ``target`` is given always: finding the top class belongs to the engine's thread, not to this.
    """
    with span("load"):
        return await asyncio.to_thread(
            load_case,
            upload.data,
            classifier,
            target,
            name=upload.name,
            limits=limits,
            value_range=upload.value_range,
        )
