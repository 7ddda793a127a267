"""The engine of ``xaiserve explain``: on the model in this process, or on workers beside it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from xaiserve.cli.explaining import Wish
from xaiserve.cli.options import named_source
from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explainer, GradientExplainer
from xaiserve.models.classifier import Classifier
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.engine import Engine


def loader(wish: Wish) -> Callable[..., LoadedClassifier]:
    """Return what loads the model, here or in a process with another working folder."""
    name, source = named_source(wish.source)
    return partial(
        load_classifier,
        str(Path(source).absolute()) if Path(source).exists() else source,
        name=name,
        device=wish.device,
        precision=wish.precision,
        file_format=wish.file_format,
        trust_code=wish.trust_code,
    )


@contextmanager
def engine_for(wish: Wish, explainer: Explainer, model: Classifier) -> Iterator[Engine]:
    """Run an engine on ``model``, or on as many workers as were wished for.

    Raises
    ------
    InvalidInputError
        Workers were wished for, and the method computes gradients beside the weights.
    ModelUnavailableError
        The workers do not start.
    """
    if not wish.workers:
        with Engine(model) as engine:
            yield engine
        return
    if isinstance(explainer, GradientExplainer):
        raise InvalidInputError(
            f"workers must be 0 for method {explainer.name}, got {wish.workers}: it computes "
            "gradients beside the weights, in one process"
        )
    # Here, because they import Ray.
    from xaiserve.dispatch.workers import Workers
    from xaiserve.pipelines.cluster import Placement, ray_for
    from xaiserve.serve.config import prepare_environment

    prepare_environment()
    cpus = len(os.sched_getaffinity(0))
    threads = max(1, cpus // wish.workers)
    placement = Placement(
        address=os.environ.get("RAY_ADDRESS"),  # noqa: TID251 -- the command line may
        cpus=cpus,
        workers=wish.workers,
        threads=threads,
    )
    with (
        ray_for(placement),
        Workers(
            partial(loader(wish), threads=threads),
            wish.workers,
            threads=threads,
            gpus=float(wish.device.startswith("cuda")),
            digest=model.digest,
        ) as workers,
        Engine(model, lanes=workers.lanes) as engine,
    ):
        yield engine
