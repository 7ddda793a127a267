"""Whether the models of a service can be loaded, told before anything starts."""

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from xaiserve.contrasts.opening import open_provider
from xaiserve.errors import ModelUnavailableError, XaiServeError
from xaiserve.models.loading import load_classifier
from xaiserve.serve.model_settings import ModelSettings


def check_models(models: Mapping[str, ModelSettings]) -> None:
    """Load each model once, so that what is wrong with it is told at once, in a sentence.

    So is what its contrast pictures come from, and whether that fits the model.

    A process of its own loads them and ends: what loading takes (the runtime, the weights, the
    modules that a format needs) would else stay with the service's first process for as long as it
    serves. A model for a device of its own is left to its replica: its memory may not suffice for
    two.

    Raises
    ------
    InvalidInputError, NotFoundError, UntrustedModelError, ModelUnavailableError
        A model cannot be loaded; the message begins with its name.
    """
    # Spawned: a fork would inherit torch's threads in whatever state they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as process:
        for name, model in models.items():
            if model.device == "cpu":
                _wait_for(process, name, model)


def _wait_for(process: ProcessPoolExecutor, name: str, model: ModelSettings) -> None:
    try:
        process.submit(_load, name, model).result()
    except BrokenProcessPool as error:
        raise ModelUnavailableError(
            f"model {name}: the process that loaded it has died, of too little memory perhaps"
        ) from error
    except XaiServeError as error:
        raise type(error)(f"model {name}: {error}") from error


def _load(name: str, model: ModelSettings) -> None:
    classifier = load_classifier(
        model.source,
        name=name,
        file_format=model.file_format,
        precision=model.precision,
        trust_code=model.trust_code,
        batch_rows=1,
        overrides=model.overrides,
    )
    if model.contrasts is not None:
        open_provider(model.contrasts, classifier.spec, classifier.scores)
