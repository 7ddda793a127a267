"""A service from start to stop: on a Ray of its own, on the caller's, or on a named cluster."""

import logging
import math
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import ray
from ray import serve
from ray.exceptions import RayActorError

from xaiserve.errors import ConflictError, InvalidInputError, ModelUnavailableError
from xaiserve.serve.access.keys import read_keys
from xaiserve.serve.app import build_app
from xaiserve.serve.config import ServiceConfig, prepare_environment
from xaiserve.serve.ending import end_serve
from xaiserve.serve.model_settings import ModelSettings
from xaiserve.serve.observing.tracing import service_tracing
from xaiserve.serve.replicas.checking import check_models

LOCAL: Final = "local"
APPLICATION: Final = "xaiserve"

OBJECT_STORE_BYTES: Final = 300 << 20
"""Pictures on their way to a replica, and answers on their way back."""

_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 -- compared with, not bound


RayOrigin = Literal["started", "joined", "found"]
"""Who is to end it: we; whoever runs the cluster; whoever in this process connected before us."""


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that answers at ``url`` until it is stopped."""

    config: ServiceConfig
    url: str
    ray: RayOrigin = field(repr=False)

    def stop(self) -> None:
        """Let requests in flight finish, and end what was started; see `stop_service`."""
        stop_service(self)


def start_service(
    config: ServiceConfig, *, address: str = LOCAL, show_logs: bool = False
) -> RunningService:
    """Start a service and return when every model answers.

    Models are first tried in a process that is spawned, so that a script which calls this needs
    the usual ``if __name__ == "__main__":``.

    Parameters
    ----------
    address
        ``local`` starts a Ray on this machine and ends it with the service; else the address of a
        cluster. A Ray that this process is connected to already is used, and kept.
    show_logs
        Print what replicas log, the causes of faults above all; else it is in Ray's own files.

    Raises
    ------
    InvalidInputError, NotFoundError
        The port is taken, the key file cannot be read, a model cannot be loaded, or no cluster
        answers.
    ConflictError
        Something is served on that cluster already.
    ModelUnavailableError
        A replica, or Serve's proxy, could not start.
    """
    config = _with_absolute_paths(config)
    if config.access.keys is not None:
        read_keys(Path(config.access.keys))
    if address == LOCAL:
        check_port(config.host, config.port)
        check_models(config.models)
    origin = _enter_ray(config, address, show_logs=show_logs)
    try:
        _refuse_neighbours()
    except ConflictError:
        _leave(origin)
        raise
    try:
        _deploy(config)
    except BaseException:
        _shut_down(origin)
        raise
    return RunningService(config, service_url(config), origin)


def stop_service(service: RunningService) -> None:
    """End the service and the Ray that it started; requests in flight get a minute to finish.

    Interrupted, it ends a Ray of its own without waiting for them.
    """
    _shut_down(service.ray)


def _shut_down(origin: RayOrigin) -> None:
    try:
        with suppress(TimeoutError):
            if origin == "started":  # Serve's controller ends with its Ray
                serve.delete(APPLICATION)
            else:
                end_serve()
    finally:
        _leave(origin)


def _leave(origin: RayOrigin) -> None:
    if origin != "found":
        ray.shutdown()


def service_url(config: ServiceConfig) -> str:
    """Say where clients on this machine reach the service."""
    return f"http://{_ANY_HOST.get(config.host, config.host)}:{config.port}"


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be bound.

    Ray's proxy shares a port with whatever else allows that, and says nothing.

    Raises
    ------
    InvalidInputError
        The port is taken, or the host is not of this machine.
    """
    try:
        kind, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInputError(
            f"port must be free on host {host!r}, got {port}: {reason.lower()}"
        ) from error


def _with_absolute_paths(config: ServiceConfig) -> ServiceConfig:
    models = {name: _absolute_model(model) for name, model in config.models.items()}
    shared = config.on_demand
    if shared is not None:
        held = {name: _absolute_model(model) for name, model in shared.models.items()}
        shared = shared.model_copy(update={"models": held})
    keys = config.access.keys and _absolute(config.access.keys)
    access = config.access.model_copy(update={"keys": keys})
    return config.model_copy(update={"models": models, "on_demand": shared, "access": access})


def _absolute_model(model: ModelSettings) -> ModelSettings:
    changes: dict[str, object] = {"source": _absolute(model.source)}
    if model.translator is not None:
        source = _absolute(model.translator.source)
        changes["translator"] = model.translator.model_copy(update={"source": source})
    elif model.contrasts is not None and model.contrasts.place:
        changes["contrast"] = model.contrasts.at(_absolute(model.contrasts.place)).contrast
    return model.model_copy(update=changes)


def _absolute(source: str) -> str:
    return str(Path(source).resolve()) if Path(source).exists() else source


def _enter_ray(config: ServiceConfig, address: str, *, show_logs: bool) -> RayOrigin:
    prepare_environment()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if ray.is_initialized():
        return "found"
    if address != LOCAL:
        try:
            ray.init(address=address, log_to_driver=show_logs, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise InvalidInputError(f"address {address} answers no Ray cluster") from error
        return "joined"
    ray.init(
        address=LOCAL,
        # Logical CPUs: models that ask for more than the machine has share it, and none waits.
        num_cpus=max(os.cpu_count() or 1, math.ceil(config.cpus)),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=show_logs,
        logging_level=logging.ERROR,
        _metrics_export_port=config.metrics_port,
    )
    # Nothing runs there yet: this forgets the controller of a Ray that this process had before,
    # which Serve takes for the present one's.
    serve.shutdown()  # type: ignore[no-untyped-call]
    return "started"


def _refuse_neighbours() -> None:
    """Refuse a cluster that serves already: its address is fixed, and stopping would end both."""
    if serve.status().proxies:
        raise ConflictError(
            "something is served on this cluster already; deploy there with "
            "'serve deploy deploy/service.yaml'"
        )


def _deploy(config: ServiceConfig) -> None:
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": config.host, "port": config.port},
            logging_config=quiet,
            tracing_config=service_tracing(config.tracing),
        )
    except (RayActorError, TimeoutError) as error:
        raise ModelUnavailableError(
            "the service did not start: its HTTP proxy was not there in time; start it again when "
            "the machine is less busy"
        ) from error
    try:
        serve.run(build_app(config), name=APPLICATION, logging_config=quiet)
    except RuntimeError as error:
        raise ModelUnavailableError(_why_not()) from error


def _why_not() -> str:
    """Say which deployments failed, each with the last line of its trace."""
    found = serve.status().applications[APPLICATION].deployments
    told = [
        f"{name}: {deployment.message.strip().splitlines()[-1]}"
        for name, deployment in found.items()
        if deployment.message
    ]
    return "the service did not start: " + "; ".join(told)
