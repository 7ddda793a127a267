"""What a service is told: models, limits, address; from YAML or a deployment's ``args``."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from xaiserve.errors import InvalidInputError
from xaiserve.serve.model_settings import ModelName, ModelSettings, OnDemand, with_sources
from xaiserve.serve.settings import Access, Answers, Jobs, Logs, Settings, Sources, Tracing
from xaiserve.storage.pictures import PictureLimits

MULTIPART_BYTES: Final = 64 << 10
"""What a form may hold besides the picture: boundaries and part headers."""

PROXY_CALLBACK: Final = "xaiserve.serve.not_serving:middlewares"

_FOR_RAY: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": PROXY_CALLBACK,
    # As long as Serve's start waits: its own 5 s, three times, are too few on a busy machine.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Uploads(Settings):
    """What is refused before it is decoded; the body's size, while it is still arriving."""

    max_bytes: Annotated[int, Field(ge=1)] = 32 << 20
    max_side: Annotated[int, Field(ge=1)] = 20_000
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    max_json_bytes: Annotated[int, Field(ge=1)] = 16 << 20
    """Of what is written as JSON, pictures in base64 or as numbers; it becomes many times larger
    while it is read."""

    max_tensor_bytes: Annotated[int, Field(ge=1)] = 64 << 20
    """Of a body of the Open Inference Protocol, binary tensors included."""

    max_rows: Annotated[int, Field(ge=1)] = 256
    """Pictures in one request that are scored together."""

    @property
    def limits(self) -> PictureLimits:
        return PictureLimits(
            max_bytes=self.max_bytes, max_side=self.max_side, max_pixels=self.max_pixels
        )


class Budget(Settings):
    """What one explanation may spend: what it gets unasked, and the most it may ask for."""

    seconds: Annotated[float, Field(gt=0)] = 30
    max_seconds: Annotated[float, Field(gt=0)] = 300
    inputs: Annotated[int, Field(ge=1)] | None = None
    max_inputs: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "Budget":
        if self.seconds > self.max_seconds:
            raise ValueError(f"seconds must be at most max_seconds, {self.max_seconds:g}")
        if self.max_inputs is not None and (self.inputs or 0) > self.max_inputs:
            raise ValueError(f"inputs must be at most max_inputs, {self.max_inputs}")
        return self


class Queue(Settings):
    """How many explanations one replica works on at a time, and how many may wait for it."""

    running: Annotated[int, Field(ge=1)] = 8
    waiting: Annotated[int, Field(ge=0)] = 32
    predicts: Annotated[int, Field(ge=1)] = 64
    """Predicts in flight; they do not wait behind explanations."""

    retry_after_s: Annotated[float, Field(gt=0)] = 5


class ServiceConfig(Settings):
    """A whole service."""

    models: dict[ModelName, ModelSettings] = Field(default={})
    on_demand: OnDemand | None = None
    uploads: Uploads = Uploads()
    budget: Budget = Budget()
    queue: Queue = Queue()
    access: Access = Access()
    sources: Sources = Sources()
    answers: Answers = Answers()
    jobs: Jobs = Jobs()
    logs: Logs = Logs()
    tracing: Tracing | None = None
    """Off when none. With ``serve deploy`` it is Serve's own ``tracing_config`` that counts."""

    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where Ray's exporter answers Prometheus, when the service starts its Ray; any when none."""

    ingress_replicas: Annotated[int, Field(ge=1)] = 1
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000

    @field_validator("models", mode="before")
    @classmethod
    def _short_form(cls, models: object) -> object:
        return with_sources(models)

    @model_validator(mode="after")
    def _has_each_name_once(self) -> "ServiceConfig":
        if not self.models and not self.on_demand_models:
            raise ValueError("models must name at least 1 model")
        if twice := sorted(self.models.keys() & self.on_demand_models.keys()):
            raise ValueError(f"model {twice[0]} is in models and in on_demand.models")
        return self

    @property
    def on_demand_models(self) -> dict[str, ModelSettings]:
        return {} if self.on_demand is None else self.on_demand.models

    @property
    def all_models(self) -> dict[str, ModelSettings]:
        """What a job may name: those on demand, too, each with the GPUs that they share."""
        gpus = 0 if self.on_demand is None else self.on_demand.gpus
        return self.models | {
            name: model.model_copy(update={"gpus": gpus})
            for name, model in self.on_demand_models.items()
        }

    @property
    def names(self) -> list[str]:
        """All models, those with replicas of their own first."""
        return [*self.models, *self.on_demand_models]

    @property
    def sleepers(self) -> frozenset[str]:
        """Models that need not be there while nobody asks for them."""
        asleep = [name for name, model in self.models.items() if model.may_sleep]
        return frozenset([*asleep, *self.on_demand_models])

    @property
    def is_open(self) -> bool:
        """Whether others than this machine's users may reach it, without a key."""
        return self.access.keys is None and self.host not in LOOPBACK

    @property
    def cpus(self) -> float:
        """Logical CPUs that all replicas ask for together."""
        models = self.models.values()
        translators = [model.translator for model in models if model.translator]
        shared = 0 if self.on_demand is None else self.on_demand.cpus
        own = sum(model.most_replicas * model.cpus for model in models)
        return (
            shared + own + sum(translator.replicas * translator.cpus for translator in translators)
        )


def make_config(given: dict[str, Any]) -> ServiceConfig:  # Any: what YAML holds
    """Check a service's settings.

    Raises
    ------
    InvalidInputError
        For the first setting that is unknown or out of range, naming it.
    """
    try:
        return ServiceConfig.model_validate(given)
    except ValidationError as error:
        raise InvalidInputError(f"service configuration: {sentence(error.errors()[0])}") from error


def read_config(path: Path) -> dict[str, Any]:  # Any: what YAML holds
    """Read the settings in a YAML file, unchecked, so that a command line may add to them.

    Raises
    ------
    InvalidInputError
        The file cannot be read, or is not a YAML mapping.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise InvalidInputError(f"config {path} is not YAML: {told}") from error
    if not isinstance(given, dict):
        raise InvalidInputError(f"config {path} must be a mapping, got {type(given).__name__}")
    return given


def sentence(error: Any) -> str:  # Any: pydantic's ErrorDetails, and FastAPI's, which is a dict
    """Say what is wrong with one field: its name, the rule and the value."""
    if error["type"] == "json_invalid":
        return f"the body must be JSON: {error['ctx']['error']}"
    field = ".".join(str(part) for part in error["loc"] if part not in {"query", "body", "path"})
    told = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in {"missing", "extra_forbidden"}:
        word = "is missing" if error["type"] == "missing" else "is not a known setting"
        return f"{field} {word}"
    return f"{field or 'settings'}: {told[:1].lower()}{told[1:]}, got {error['input']!r:.200}"


def state_folder() -> Path:
    """Say where a user's programs keep what must outlive them (XDG base directories)."""
    named = Path(os.environ.get("XDG_STATE_HOME", ""))  # noqa: TID251 -- as below
    return named if named.is_absolute() else Path.home() / ".local" / "state"


def prepare_environment() -> None:
    """Set what Ray reads from the environment when it starts; what is set already stays.

    No usage reports leave the machine, a replica without GPUs does not hide them from others, and
    the proxy says 503 where there is no service, and may take its time to start.
    """
    for name, value in _FOR_RAY.items():
        os.environ.setdefault(name, value)  # noqa: TID251 -- this module is where it may be


def prepare_logs(logs: Logs) -> None:
    """Have Ray print the lines of replicas as they were written; it reads this when imported.

    Of lines of several replicas that differ in numbers alone it would print one, and before each
    write whose it is, which is no JSON.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # noqa: TID251 -- as above
    if logs.format == "json":
        os.environ.setdefault("RAY_DISABLE_WORKER_LOG_PREFIX", "1")  # noqa: TID251 -- as above
