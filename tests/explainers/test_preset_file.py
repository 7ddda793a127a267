"""Parameters that a sweep has found, as a file that `preset` names."""

import dataclasses

import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.preset_file import filled
from xaiserve.explainers.registry import make_explainer
from xaiserve.pipelines.tasks import describe
from xaiserve.testing.presets import PRESET


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("occlusion", {"cells": "4", "fill": "grey", "grey": "0.30000000000000004"}),
        ("multirex", {"preset": "rex"}),
        ("extremal-perturbations", {"areas": "0.1,0.25"}),
        ("clear-image", {"include": "1,2"}),
    ],
)
def test_a_preset_file_makes_the_same_method_again(method, options, tmp_path):
    made = make_explainer(method, options)
    file = tmp_path / "best.json"
    preset = dataclasses.replace(PRESET, method=method, parameters=describe(made)["parameters"])
    file.write_bytes(preset.to_json())
    assert make_explainer(method, filled(method, {"preset": str(file)})) == made


def test_other_options_go_before_a_preset_file(tmp_path):
    (tmp_path / "best.json").write_bytes(PRESET.to_json())
    found = filled("occlusion", {"cells": "5", "preset": str(tmp_path / "best.json")})
    assert found == {"cells": "5", "fill": "grey", "grey": "0.25"}
    assert filled("multirex", {"preset": "fast"}) == {"preset": "fast"}


def test_a_preset_file_of_another_method_or_of_nothing_is_refused(tmp_path):
    file = tmp_path / "best.json"
    file.write_bytes(PRESET.to_json())
    with pytest.raises(InvalidInputError, match="is for occlusion, and the method is rise"):
        filled("rise", {"preset": str(file)})
    for other in (b"[]", b"{", b'{"method": "rise"}'):
        file.write_bytes(other)
        with pytest.raises(InvalidInputError, match=r"must be a best\.json"):
            filled("occlusion", {"preset": str(file)})
