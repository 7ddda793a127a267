"""From a model's settings to its classifier, in a replica."""

from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.serve.model_settings import ModelSettings


def open_classifier(name: str, model: ModelSettings) -> LoadedClassifier:
    """Load a model as its settings say; takes seconds, so not on an event loop."""
    return load_classifier(
        model.source,
        name=name,
        device=model.device,
        precision=model.precision,
        file_format=model.file_format,
        trust_code=model.trust_code,
        batch_rows=model.batch_rows,
        threads=model.thread_count,
        overrides=model.overrides,
    )
