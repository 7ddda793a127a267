import json

import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.models.spec import ModelSpec, Resize, Rule
from xaiserve.models.spec_json import canonical_json, spec_from_json, spec_to_json

SPEC = ModelSpec(
    height=20,
    width=30,
    channels=1,
    value_range=(0.0, 255.0),
    mean=(127.5,),
    std=(60.0,),
    resize=Resize(mode="shorter", side_px=32, resample="bicubic"),
    labels=("calm", "storm"),
    activation="sigmoid",
    rule=Rule(thresholds=(0.25, 0.5)),
)


def test_a_specification_survives_json() -> None:
    stated = json.loads(json.dumps(spec_to_json(SPEC)))
    assert spec_from_json(stated, "xaiserve.json") == SPEC


def test_canonical_bytes_do_not_depend_on_the_order_of_keys() -> None:
    stated = dict(reversed(spec_to_json(SPEC).items()))
    assert canonical_json(spec_from_json(stated, "x")) == canonical_json(SPEC)


def test_the_rule_may_be_absent_for_softmax_and_means_arg_max() -> None:
    stated = spec_to_json(SPEC) | {"activation": "softmax"}
    del stated["rule"]
    assert spec_from_json(stated, "x").rule == Rule()


def test_an_absent_rule_is_not_guessed_for_sigmoid() -> None:
    stated = spec_to_json(SPEC)
    del stated["rule"]
    with pytest.raises(InvalidInputError, match=r"rule: not stated by here; state it in xaiserve"):
        spec_from_json(stated, "here")


@pytest.mark.parametrize("key", [key for key in spec_to_json(SPEC) if key != "rule"])
def test_an_absent_key_is_named(key: str) -> None:
    stated = spec_to_json(SPEC)
    del stated[key]
    with pytest.raises(InvalidInputError, match=f"{key}: not stated by here"):
        spec_from_json(stated, "here")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("height", "20", "height in here must be an integer, got '20'"),
        ("height", True, "height in here must be an integer, got True"),
        ("height", 1, "height and width must be at least 2"),
        ("channels", 4, "channels must be 1 or 3, got 4"),
        ("mean", "0.5", "mean in here must be a list of finite numbers"),
        ("mean", [0.5, 0.5], "mean must have 1 numbers, got 2"),
        ("mean", [float("nan")], "mean in here must be a list of finite numbers"),
        ("std", [0.0], "std must be above 0"),
        ("value_range", [0, 1, 2], "value_range in here must be two numbers"),
        ("value_range", [1, 0], "value_range must be \\(low, high\\)"),
        ("labels", "ab", "labels in here must be a list of names"),
        ("labels", ["a"], "labels must name at least 2 classes"),
        ("activation", "tanh", "activation in here must be one of softmax, sigmoid, none"),
        ("resize", [224], "resize in here must be an object with mode, side_px, resample"),
        ("resize", {"mode": "fit"}, "mode of resize in here must be one of shorter, exact"),
        ("resize", {"mode": "exact"}, "resample of resize in here must be one of nearest"),
        ("resize", {"mode": "shorter", "resample": "box"}, "side_px of resize .* at least 1"),
        ("resize", {"size": 3}, "'size' in resize in here is unknown"),
        ("rule", {"thresholds": [0.5]}, "thresholds must have one number per class"),
        ("rule", {"threshold": 0.5}, "'threshold' in rule in here is unknown"),
        ("heigth", 20, "'heigth' in here is unknown; known keys are height, width"),
    ],
)
def test_a_wrong_value_is_refused_by_name(key: str, value: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        spec_from_json(spec_to_json(SPEC) | {key: value}, "here")
