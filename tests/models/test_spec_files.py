import json
from pathlib import Path
from typing import Any

import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.models.spec import ModelSpec, Resize, Rule
from xaiserve.models.spec_files import read_spec
from xaiserve.models.spec_json import spec_to_json

PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 200},
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.5, 0.5],
}
CONFIG = {"model_type": "mobilenet_v2", "num_channels": 3, "id2label": {"1": "dog", "0": "cat"}}
PREPROCESS = {
    "input_name": "pixel_values",
    "output_name": "logits",
    "layout": "NCHW",
    "color": "RGB",
    "resize_shortest_edge": 256,
    "resample": "bilinear",
    "center_crop": 224,
    "rescale_factor": 0.00392156862745098,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "num_labels": 3,
}
PLAIN = ModelSpec(height=8, width=8, labels=("a", "b"))


def write(folder: Path, **files: object) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def transformers(folder: Path, config: Any = CONFIG, **changes: object) -> Path:
    found = {key: value for key, value in (PREPROCESSOR | changes).items() if value is not ...}
    return write(folder, preprocessor_config=found, config=config)


def test_transformers_files_state_everything(tmp_path: Path) -> None:
    assert read_spec(transformers(tmp_path)) == ModelSpec(
        height=224,
        width=200,
        mean=(0.5, 0.4, 0.3),
        std=(0.5, 0.5, 0.5),
        resize=Resize(mode="shorter", side_px=256, resample="bilinear"),
        labels=("cat", "dog"),
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"size": {"height": 30, "width": 40}, "do_center_crop": False},
            {"height": 30, "width": 40, "resize": Resize(mode="exact")},
        ),
        ({"resample": 3}, {"resize": Resize(mode="shorter", side_px=256, resample="bicubic")}),
        ({"crop_size": 96}, {"height": 96, "width": 96}),
        ({"do_rescale": False}, {"value_range": (0.0, 255.0)}),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True}, {"value_range": (-1.0, 1.0)}),
        ({"do_normalize": False}, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
        (
            {"size": 224, "crop_pct": 0.875},
            {"height": 224, "width": 224, "resize": Resize(mode="shorter", side_px=256)},
        ),
        (
            {"size": {"shortest_edge": 384}, "crop_pct": 0.875},
            {"height": 384, "width": 384, "resize": Resize(mode="exact")},
        ),
    ],
)
def test_transformers_variants(
    tmp_path: Path, changes: dict[str, object], expected: dict[str, object]
) -> None:
    spec = read_spec(transformers(tmp_path, **changes))
    assert {key: getattr(spec, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 224}, "height, width, resize: not stated"),
        ({"do_resize": False}, "height, width, resize: not stated"),
        ({"resample": ...}, "height, width, resize: not stated"),
        ({"rescale_factor": ...}, "value_range: not stated"),
        ({"do_normalize": ...}, "mean, std: not stated"),
        ({"do_center_crop": False}, "shortest_edge but do_center_crop is not true"),
        ({"size": {"height": 256, "width": 256}}, "a crop after scaling both sides"),
        ({"crop_size": ...}, "crop_size"),
    ],
)
def test_what_transformers_files_leave_open_is_not_guessed(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_spec(transformers(tmp_path, **changes))


def test_a_multi_label_config_needs_a_stated_rule(tmp_path: Path) -> None:
    config = CONFIG | {"problem_type": "multi_label_classification"}
    folder = transformers(tmp_path, config)
    with pytest.raises(InvalidInputError, match="rule: not stated"):
        read_spec(folder)
    spec = read_spec(folder, {"rule": {"thresholds": [0.5, 0.25]}})
    assert (spec.activation, spec.rule) == ("sigmoid", Rule(thresholds=(0.5, 0.25)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"id2label": {"0": "cat", "2": "dog"}}, "without a gap"),
        (CONFIG | {"problem_type": "regression"}, "problem_type must be a classification"),
        ({"model_type": "x", "num_channels": 3}, "labels: not stated"),
    ],
)
def test_a_config_without_usable_classes_is_refused(
    tmp_path: Path, config: object, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_spec(transformers(tmp_path, config))


def test_preprocess_json_names_classes_by_their_index(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path, preprocess=PREPROCESS)) == ModelSpec(
        height=224,
        width=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize=Resize(mode="shorter", side_px=256, resample="bilinear"),
        labels=("0", "1", "2"),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "NHWC"}, "layout in .* must be NCHW, got 'NHWC'"),
        ({"color": "BGR"}, "color in .* must be RGB, got 'BGR'"),
        ({"output_name": "out"}, "activation: not stated by .*preprocess.json"),
        ({"padding": 3}, "'padding' in .* is unknown"),
        ({"num_labels": "many"}, "invalid literal"),
    ],
)
def test_a_wrong_preprocess_json_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_spec(write(tmp_path, preprocess=PREPROCESS | changes))


def test_xaiserve_json_comes_before_all_others(tmp_path: Path) -> None:
    transformers(tmp_path)
    write(tmp_path, preprocess=PREPROCESS, xaiserve=spec_to_json(PLAIN))
    assert read_spec(tmp_path) == PLAIN


def test_overrides_replace_what_files_state(tmp_path: Path) -> None:
    write(tmp_path, xaiserve=spec_to_json(PLAIN))
    assert read_spec(tmp_path, {"labels": ["x", "y"]}).labels == ("x", "y")


def test_overrides_alone_are_enough_when_complete(tmp_path: Path) -> None:
    assert read_spec(tmp_path, spec_to_json(PLAIN)) == PLAIN


def test_a_folder_without_any_file_says_which_to_give(tmp_path: Path) -> None:
    message = "give xaiserve.json, preprocessor_config.json with config.json or preprocess.json"
    with pytest.raises(InvalidInputError, match=message):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "as JSON"), ("[1]", "a JSON object, got list")]
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "xaiserve.json").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        read_spec(tmp_path)
