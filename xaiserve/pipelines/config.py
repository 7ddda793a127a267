"""`JobConfig`: what one dataset job is asked to do, as plain data."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar

from xaiserve.contrasts.opening import ContrastSettings, settings_of
from xaiserve.errors import InvalidInputError
from xaiserve.metrics.deletion import check_scores
from xaiserve.parameters import MAX_SEED

MIN_ROWS: Final = 50
"""Before the share of errors means anything."""

C = TypeVar("C", bound="JobConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """Which images, which model, which methods, and where the rows go.

    Parameters
    ----------
    images
        A picture, a folder, an ``s3://`` prefix, or a manifest (.csv, .json, .jsonl, .parquet).
    out
        Folder or ``s3://bucket/prefix`` that will hold the rows; one job per output.
    model
        Name of the model in the rows.
    model_source
        What `load_classifier` takes: a folder, a file, a hub id or ``embedded``.
    methods
        Names of explainers, each once.
    options
        Parameters per method, as texts; those left out keep their defaults.
    seed
        All randomness is derived from it and the images' digests; 0 to `MAX_SEED`.
    limit
        Only the first so many images.
    max_inputs
        Model inputs that one explanation may cost, without its scores.
    scores
        What else to ask the model about every explanation: some of `metrics.deletion.SCORES`.
    model_format, trust_code, device, precision
        As `load_classifier` takes them.
    contrast, translator, contrast_options
        Where contrast pictures come from, for methods that need them and rows of the input that
        name none; see `ContrastSettings`.
    translator_device
        Where the translator draws; the model's device when none.
    tasks_per_part
        Explanations that a worker publishes at once: what is lost when it dies. What takes about 20
        seconds when none.
    images_root
        Where relative paths of a manifest, or the pictures of COCO annotations, start; the folder
        that holds it when none.
    folder_labels
        The name of each picture's folder is its label.
    max_error_share
        Of the rows of one run, above 0 to 1: when more hold an error the job stops, after at least
        `MIN_ROWS`.
    retry_errors
        Rows of an earlier run that hold an error are done again.
    """

    kind: ClassVar[str]

    images: str
    out: str
    model: str
    model_source: str
    methods: tuple[str, ...]
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seed: int = 0
    limit: int | None = None
    max_inputs: int | None = None
    scores: tuple[str, ...] = ()
    model_format: str | None = None
    trust_code: bool = False
    device: str = "cpu"
    precision: str = "fp32"
    contrast: str | None = None
    translator: str | None = None
    contrast_options: Mapping[str, str] = field(default_factory=dict)
    translator_device: str | None = None
    tasks_per_part: int | None = None
    images_root: str | None = None
    folder_labels: bool = False
    max_error_share: float | None = None
    retry_errors: bool = False

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InvalidInputError(
                "methods must name at least one method, each once, "
                f"got {', '.join(self.methods) or 'none'}"
            )
        for name in self.options:
            if name not in self.methods:
                raise InvalidInputError(
                    f"options are given for method {name!r}, which is not among "
                    f"{', '.join(self.methods)}"
                )
        if not 0 <= self.seed <= MAX_SEED:
            raise InvalidInputError(f"seed must be from 0 to {MAX_SEED}, got {self.seed}")
        if self.contrasts is None and self.translator_device is not None:
            raise InvalidInputError("translator_device goes with a translator, and there is none")
        if self.max_error_share is not None and not 0 < self.max_error_share <= 1:
            raise InvalidInputError(
                f"max_error_share must be above 0 and at most 1, got {self.max_error_share}"
            )
        check_scores(self.scores)
        _at_least_one("limit", self.limit)
        _at_least_one("max_inputs", self.max_inputs)
        _at_least_one("tasks_per_part", self.tasks_per_part)

    @property
    def contrasts(self) -> ContrastSettings | None:
        """Where contrast pictures come from."""
        return settings_of(self.contrast, self.translator, self.contrast_options)

    def to_json(self) -> str:
        """Write the configuration as one JSON object; `from_json` reads it back equal."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def deciding(self) -> dict[str, Any]:  # Any: JSON
        """Return what decides the result of a task besides image, method and model."""
        # Outputs that were begun without scores know no such setting.
        scores = {"scores": list(self.scores)} if self.scores else {}
        return {"kind": self.kind, "seed": self.seed, "max_inputs": self.max_inputs, **scores}

    @classmethod
    def from_json(cls: type[C], text: str) -> C:  # noqa: PYI019 -- run-time checks refuse Self
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidInputError
            A field is unknown or missing.
        """
        fields: dict[str, Any] = json.loads(text)  # Any: JSON
        try:
            names = {name: tuple(fields.get(name, ())) for name in ("methods", "scores")}
            return cls(**{**fields, **names})
        except TypeError as error:
            raise InvalidInputError(f"this is no {cls.kind} configuration: {error}") from error


def _at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InvalidInputError(f"{name} must be at least 1, got {value}")
