"""What is wrong with a deployment's files, by rules closed so far that no misspelt key passes."""

import copy
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import botocore.session
import botocore.validate
import jsonschema
import yaml
from pydantic import PydanticDeprecatedSince20, ValidationError
from ray import autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from xaiserve.errors import InvalidInputError
from xaiserve.serve.config import make_config, sentence

Json = Any
"""Any: what YAML holds."""

Place = tuple[str | int, ...]
"""The keys and indices on the way to a value."""

FREE: Final = frozenset({"labels", "annotations", "file_mounts", "available_node_types", "models"})
"""Mappings whose keys are the writer's own."""

_RESOURCES: Final = frozenset({"CPU", "GPU", "memory", "object_store_memory"})
_POD_RESOURCES: Final = frozenset({"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"})
_METADATA: Final = frozenset({"name", "generateName", "namespace", "labels", "annotations"})


def misspellings(document: Json) -> Iterator[tuple[Place, Json]]:
    """Yield the document with one key misspelt, for each key that is not the writer's own."""
    plain = json.loads(json.dumps(document))  # YAML's anchors would change in several places
    for place in _keys(plain):
        wrong = copy.deepcopy(plain)
        inside = wrong
        for step in place[:-1]:
            inside = inside[step]
        key = place[-1]
        inside[f"{key}z"] = inside.pop(key)
        yield place, wrong


def _keys(document: Json, place: Place = ()) -> Iterator[Place]:
    if isinstance(document, dict):
        for key, value in document.items():
            if not place or place[-1] not in FREE:
                yield (*place, key)
            yield from _keys(value, (*place, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from _keys(value, (*place, index))


def cluster_faults(config: Mapping[str, Json]) -> list[str]:
    """Say what is wrong with the configuration of ``ray up``, without asking the cloud."""
    found = schema_faults(config, _cluster_schema())
    if found:
        return found
    try:
        validate_config(prepare_config(copy.deepcopy(dict(config))))
    except (ValueError, RuntimeError, AssertionError, jsonschema.ValidationError) as error:
        return [str(error)]
    for name, kind in config["available_node_types"].items():
        unknown = set(kind["resources"]) - _RESOURCES
        found += [f"{name}: resource {each} is unknown" for each in sorted(unknown)]
        found += [f"{name}: {told}" for told in _instance_faults(kind["node_config"])]
    return found


def service_faults(config: Mapping[str, Json]) -> list[str]:
    """Say what is wrong with the configuration of ``serve deploy``: Serve itself drops keys."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticDeprecatedSince20)  # Ray Serve 2.60's own models
        schema = import_module("ray.serve.schema")
        try:
            schema.ServeDeploySchema.model_validate(config)
        except ValidationError as error:
            return [sentence(each) for each in error.errors()]
        parts = [
            ("", schema.ServeDeploySchema, config),
            ("http_options.", schema.HTTPOptionsSchema, config.get("http_options", {})),
            ("logging_config.", schema.LoggingConfig, config.get("logging_config", {})),
            *(("application.", schema.ServeApplicationSchema, e) for e in config["applications"]),
        ]
        found = [
            f"{name}{key} is not a known setting"
            for name, model, part in parts
            for key in sorted(set(part) - set(model.model_fields))
        ]
        return found or [told for each in config["applications"] for told in _app_faults(each)]


def _app_faults(application: Mapping[str, Json]) -> list[str]:
    module, _, name = application["import_path"].partition(":")
    try:
        getattr(import_module(module), name)(make_config(application.get("args", {})))
    except (ImportError, AttributeError, InvalidInputError) as error:
        return [str(error)]
    return []


def manifest_faults(manifest: Mapping[str, Json], crd: Path) -> list[str]:
    """Say what is wrong with a Kubernetes manifest, by the schema of its kind."""
    found = schema_faults(manifest, _manifest_schema(crd))
    for place in _keys(manifest):
        *above, key = place
        if "rayStartParams" in above and key not in _start_options():
            found.append(f"ray start has no option --{key}")
        if above[-1:] in (["limits"], ["requests"]) and key not in _POD_RESOURCES:
            found.append(f"{key} is no resource of a pod")
    return found


def schema_faults(document: Json, schema: Json) -> list[str]:
    """Say where a document breaks a schema."""
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


def closed(schema: Json) -> Json:
    """Forbid every key that a schema does not name, and let Kubernetes' quantities be numbers."""
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    shut = {key: closed(value) for key, value in schema.items()}
    if isinstance(shut.get("properties"), dict) and shut.get("additionalProperties") in (
        None,
        True,
    ):
        shut["additionalProperties"] = False
    return shut


@lru_cache
def _cluster_schema() -> Json:
    return closed(json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text()))


@lru_cache
def _manifest_schema(crd: Path) -> Json:
    defined = yaml.load(crd.read_bytes(), Loader=yaml.CSafeLoader)["spec"]  # a megabyte
    (found,) = [each for each in defined["versions"] if each["storage"]]
    schema = found["schema"]["openAPIV3Schema"]
    properties = schema["properties"]
    properties["metadata"]["properties"] = {key: {} for key in _METADATA}
    properties["kind"]["const"] = defined["names"]["kind"]
    properties["apiVersion"]["const"] = f"{defined['group']}/{found['name']}"
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return closed(schema)


@lru_cache
def _start_options() -> frozenset[str]:
    return frozenset(option.removeprefix("--") for each in start.params for option in each.opts)


def _instance_faults(node_config: Mapping[str, Json]) -> list[str]:
    """Say what EC2's own description of ``RunInstances`` finds wrong."""
    given = {key: value for key, value in node_config.items() if key != "SubnetIds"}  # Ray's own
    told = botocore.validate.ParamValidator().validate(
        given | {"MinCount": 1, "MaxCount": 1}, _run_instances()
    )
    return told.generate_report().splitlines()  # type: ignore[no-any-return]


@lru_cache
def _run_instances() -> Any:  # Any: botocore makes it of JSON
    service = botocore.session.get_session().get_service_model("ec2")
    return service.operation_model("RunInstances").input_shape
