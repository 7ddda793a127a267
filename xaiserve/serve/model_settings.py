"""Where models come from and what their replicas get; a part of `config.ServiceConfig`."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from xaiserve.contrasts.opening import ContrastSettings, settings_of
from xaiserve.errors import InvalidInputError
from xaiserve.models.precision import Precision
from xaiserve.models.sources import Format
from xaiserve.serve.settings import Autoscaling, Settings

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class TranslatorSettings(Settings):
    """A model's translator, which makes its contrast pictures in replicas of its own."""

    source: Annotated[str, Field(min_length=1)]
    """Folder, ``s3://`` prefix or ``embedded``."""

    device: str = "cpu"
    replicas: Annotated[int, Field(ge=1)] = 1
    cpus: Annotated[float, Field(ge=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    batch_images: Annotated[int, Field(ge=1)] = 8
    """Pictures that are drawn together, of however many requests."""

    batch_wait_s: Annotated[float, Field(ge=0)] = 0.01
    """How long a picture waits for company."""

    timeout_s: Annotated[float, Field(gt=0)] = 30
    """How long the classifier waits for it."""


class ModelSettings(Settings):
    """Where one model comes from and what each of its replicas gets."""

    source: Annotated[str, Field(min_length=1)]
    """Folder, file, hub id, ``embedded`` or ``package.module:factory``."""

    file_format: Format | None = None
    device: str = "cpu"
    precision: Precision = "fp32"
    """What searches are scored in; see `models.precision`."""

    trust_code: bool = False
    batch_rows: Annotated[int, Field(ge=1)] | None = None
    overrides: dict[str, Any] = Field(default={})  # Any: JSON
    """Keys of ``xaiserve.json`` that complete or replace what the model's files state."""

    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of the model; as many as ``cpus`` when none."""

    replicas: Annotated[int, Field(ge=1)] = 1
    autoscaling: Autoscaling | None = None
    """Instead of a fixed number."""

    cpus: Annotated[float, Field(ge=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    memory_bytes: Annotated[int, Field(ge=1)] | None = None
    """What it takes of a memory budget; estimated from its files when none."""

    translator: TranslatorSettings | None = None
    """Makes contrast pictures, for methods that need them."""

    contrast: str | None = None
    """What makes them instead; see `contrasts.opening.ContrastSettings`."""

    contrast_options: dict[str, str] = Field(default={})

    @field_validator("translator", mode="before")
    @classmethod
    def _short_form(cls, translator: object) -> object:
        """Let ``DIR`` stand for ``{source: DIR}``."""
        return {"source": translator} if isinstance(translator, str) else translator

    @field_validator("contrast_options", mode="before")
    @classmethod
    def _as_texts(cls, options: object) -> object:
        """Let YAML's numbers be numbers."""
        if not isinstance(options, dict):
            return options
        return {key: str(value) for key, value in options.items()}

    @model_validator(mode="after")
    def _replicas_are_clear(self) -> "ModelSettings":
        if self.autoscaling is not None and "replicas" in self.model_fields_set:
            raise ValueError("a model has either replicas or autoscaling")
        return self

    @model_validator(mode="after")
    def _contrasts_are_clear(self) -> "ModelSettings":
        try:
            _ = self.contrasts
        except InvalidInputError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def contrasts(self) -> ContrastSettings | None:
        """Where contrast pictures come from."""
        translator = self.translator.source if self.translator else None
        return settings_of(self.contrast, translator, self.contrast_options)

    @property
    def most_replicas(self) -> int:
        return self.replicas if self.autoscaling is None else self.autoscaling.max

    @property
    def may_sleep(self) -> bool:
        """Whether it has no replica while nobody asks."""
        return self.autoscaling is not None and self.autoscaling.min == 0

    @property
    def thread_count(self) -> int:
        return self.threads or max(1, int(self.cpus))


class OnDemand(Settings):
    """Models that share one replica, each loaded when it is asked for."""

    memory_bytes: Annotated[int, Field(ge=1)]
    """What all that are loaded may take together; the one idle longest makes room."""

    models: Annotated[dict[ModelName, ModelSettings], Field(min_length=1)]
    cpus: Annotated[float, Field(ge=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0

    @field_validator("models", mode="before")
    @classmethod
    def _short_form(cls, models: object) -> object:
        return with_sources(models)

    @model_validator(mode="after")
    def _share_a_replica(self) -> "OnDemand":
        for name, model in self.models.items():
            own = {"replicas", "autoscaling", "cpus", "gpus", "translator"}
            if given := sorted(own & model.model_fields_set):
                raise ValueError(f"model {name} is loaded on demand and cannot have {given[0]}")
        return self


def with_sources(models: object) -> object:
    """Let ``NAME: DIR`` stand for ``NAME: {source: DIR}``."""
    if not isinstance(models, dict):
        return models
    return {
        name: {"source": given} if isinstance(given, str) else given
        for name, given in models.items()
    }
