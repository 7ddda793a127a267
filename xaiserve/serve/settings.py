"""How a service is run: who may use it, what it fetches; parts of `config.ServiceConfig`."""

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Place = Annotated[str, Field(min_length=1)]

ANY_ORIGIN: Final = "*"


class Settings(BaseModel):
    """Base of all settings: closed, so that a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Access(Settings):
    """Who may use the service."""

    keys: Place | None = None
    """File of ``xaiserve keys``; whoever reaches the port may use the service when none."""

    origins: tuple[str, ...] = ()
    """Web pages whose scripts may ask (CORS), such as ``https://viewer.example.org``."""

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            whole = f"{parts.scheme}://{parts.netloc}"
            if origin != ANY_ORIGIN and (not parts.netloc or origin != whole):
                raise ValueError(f"must be scheme://host[:port] or *, got {origin!r}")
        return origins


class Autoscaling(Settings):
    """How many replicas a model has, by the model inputs that wait for them."""

    min: Annotated[int, Field(ge=0)] = 1
    """With 0 an idle model ends; the next request waits while it starts again."""

    max: Annotated[int, Field(ge=1)]
    target_inputs: Annotated[float, Field(gt=0)] = 2000
    """Model inputs that may wait for one replica: a few seconds' worth of the model."""

    upscale_delay_s: Annotated[float, Field(ge=0)] = 10
    downscale_delay_s: Annotated[float, Field(ge=0)] = 300
    """Minutes: a replica that comes back must load its model again."""

    downscale_to_zero_delay_s: Annotated[float, Field(ge=0)] = 900
    look_back_s: Annotated[float, Field(gt=0)] = 20
    """What is averaged over."""

    @model_validator(mode="after")
    def _is_a_range(self) -> "Autoscaling":
        if self.max < self.min:
            raise ValueError(f"max must be at least min, {self.min}")
        return self


class Logs(Settings):
    """What the service's processes log, each to its standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    """``INFO`` is a line per request and per explanation."""


class Tracing(Settings):
    """OpenTelemetry traces."""

    sampling_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Of requests that bring no trace of their own."""

    exporter: Place | None = None
    """``module:function`` that returns span processors; OTLP over HTTP when none."""


class Sources(Settings):
    """Where pictures may lie that a request names instead of sending them: nowhere, unless told."""

    allowed: tuple[str, ...] = ()
    """Beginnings of addresses: ``s3://bucket[/prefix]``, ``https://host[:port][/prefix]``."""

    private_hosts: tuple[str, ...] = ()
    """Hosts of ``allowed`` that may have a private address, such as an archive inside."""

    timeout_s: Annotated[float, Field(gt=0)] = 20
    """For one picture, from name look-up to last byte."""

    @field_validator("private_hosts")
    @classmethod
    def _as_compared(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host.lower() for host in hosts)

    @field_validator("allowed")
    @classmethod
    def _are_addresses(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for place in allowed:
            parts = urlsplit(place)
            plain = not (parts.query or parts.fragment or "@" in parts.netloc)
            if parts.scheme not in {"s3", "https"} or not parts.hostname or not plain:
                raise ValueError(
                    f"must be s3://bucket[/prefix] or https://host[/prefix], got {place!r}"
                )
        return allowed


class Answers(Settings):
    """What is kept of answers: where, how much of it and for how long."""

    store: Place | None = None
    """Folder or ``s3://bucket/prefix`` that all ingress replicas reach; a folder in the home of
    whoever runs the service when none."""

    cache_bytes: Annotated[int, Field(ge=0)] = 512 << 20
    """Of answers that equal requests get again; 0 keeps none."""

    keep_seconds: Annotated[float, Field(gt=0)] = 24 * 3600
    """How long results that are fetched later are kept, and answers by ``Idempotency-Key``."""

    max_seconds: Annotated[float, Field(gt=0)] = 3600
    """The largest budget of a result that is fetched later."""

    running: Annotated[int, Field(ge=1)] = 4
    """Results that one ingress replica works on at once."""

    waiting: Annotated[int, Field(ge=1)] = 1000
    """Results that may be pending in all."""

    @field_validator("store")
    @classmethod
    def _is_absolute(cls, store: str | None) -> str | None:
        """Make a folder absolute, for replicas work in other ones."""
        if store is None or "://" in store:
            return store
        return str(Path(store).expanduser().absolute())


class Jobs(Settings):
    """Jobs over data sets: none, unless a place for their rows is named."""

    address: Place = "http://127.0.0.1:8265"
    """The dashboard of the cluster that runs them."""

    images: tuple[str, ...] = ()
    """Beginnings of places, absolute paths or ``s3://bucket[/prefix]``, that a job may read."""

    outputs: tuple[str, ...] = ()
    """The same for what it may write."""

    @field_validator("images", "outputs")
    @classmethod
    def _are_places(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        for place in places:
            if not place.startswith(("/", "s3://")):
                raise ValueError(f"must be an absolute path or s3://bucket[/prefix], got {place!r}")
        return places
