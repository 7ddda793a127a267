"""Spaces of a sweep: what they say, what they may not say, and what is drawn from them."""

import json
import math

import pytest

from xaiserve.errors import InvalidInputError, NotFoundError
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.space import Between, Choice, Whole, draw, parse_space, read_space

KEYS = Keys.root(0, "space")


def test_a_space_is_read_from_yaml_and_from_json(tmp_path):
    given = {"cells": {"randint": [2, 9]}, "grey": {"uniform": [0, 0.5]}}
    (tmp_path / "space.json").write_text(json.dumps(given), encoding="utf-8")
    (tmp_path / "space.yaml").write_text(
        "cells: {randint: [2, 9]}\ngrey:\n  uniform: [0, 0.5]\n", encoding="utf-8"
    )
    wanted = {"cells": Whole(2, 9), "grey": Between(0, 0.5)}
    for name in ("space.json", "space.yaml"):
        assert read_space(str(tmp_path / name), "occlusion") == wanted


def test_a_number_that_yaml_takes_for_a_text_is_a_number():
    found = parse_space(
        {"grey": {"loguniform": ["1e-3", 1]}, "fill": {"choice": ["grey"]}}, "occlusion"
    )
    assert found == {"grey": Between(0.001, 1, log=True), "fill": Choice(("grey",))}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "at least one parameter"),
        ([1], "at least one parameter"),
        ({"cell": {"choice": [1]}}, "cell is not a parameter of occlusion; known are cells, fill"),
        ({"cells": [1, 2]}, "cells must have one of choice, uniform, loguniform, randint"),
        ({"cells": {"normal": [0, 1]}}, "cells must have one of"),
        ({"cells": {"choice": []}}, "cells must list its values"),
        ({"cells": {"choice": [4, 65]}}, "cells must be an integer from 1 to 64, got 65"),
        ({"cells": {"choice": ["many"]}}, "cells must be an integer from 1 to 64, got 'many'"),
        ({"cells": {"choice": [{"a": 1}]}}, "cells must be an integer from 1 to 64"),
        ({"cells": {"randint": [0, 8]}}, "cells must be an integer from 1 to 64, got 0"),
        ({"cells": {"randint": [8, 8]}}, "cells must be [low, high], low below high"),
        ({"cells": {"randint": [1, 2, 3]}}, "cells must be [low, high], low below high"),
        ({"cells": {"uniform": [1, 8]}}, "use choice, randint, not uniform"),
        ({"grey": {"uniform": [0, 2]}}, "grey must be a number from 0 to 1, got 2"),
        ({"grey": {"loguniform": [0, 1]}}, "grey must begin above 0"),
        ({"grey": {"randint": [0.5, 1]}}, "randint of grey must have whole ends"),
        ({"fill": {"uniform": [0, 1]}}, "use choice, not uniform"),
        ({"fill": {"choice": ["pink"]}}, "fill must be one of"),
    ],
)
def test_what_a_space_may_not_say_is_told_in_one_sentence(given, told):
    with pytest.raises(InvalidInputError) as caught:
        parse_space(given, "occlusion")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_yaml_and_a_method_that_is_none_are_refused(tmp_path):
    (tmp_path / "space.yaml").write_text("cells: [", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"space .* must be YAML or JSON"):
        read_space(str(tmp_path / "space.yaml"), "occlusion")
    with pytest.raises(NotFoundError):
        read_space(str(tmp_path / "absent.yaml"), "occlusion")
    with pytest.raises(NotFoundError, match="'guess' does not exist"):
        parse_space({"cells": {"choice": [1]}}, "guess")


def test_a_small_space_is_gone_through_whole():
    space = {"cells": Whole(2, 3), "fill": Choice(("grey", "neutral"))}
    assert draw(space, 4, KEYS) == (
        {"cells": 2, "fill": "grey"},
        {"cells": 2, "fill": "neutral"},
        {"cells": 3, "fill": "grey"},
        {"cells": 3, "fill": "neutral"},
    )


def test_draws_are_different_and_repeat_with_their_seed():
    space = {"cells": Whole(1, 6), "fill": Choice(("grey", "neutral"))}
    drawn = draw(space, 11, KEYS)
    assert len({tuple(each.items()) for each in drawn}) == 11
    assert draw(space, 11, KEYS) == drawn
    assert draw(space, 5, KEYS) == drawn[:5]  # more samples keep what fewer have drawn
    assert draw(space, 11, Keys.root(1, "space")) != drawn


def test_a_logarithm_is_drawn_evenly_and_stays_in_range():
    drawn = [each["grey"] for each in draw({"grey": Between(0.001, 1, log=True)}, 600, KEYS)]
    assert all(0.001 <= each <= 1 for each in drawn)
    decades = [sum(math.floor(math.log10(each)) == -place for each in drawn) for place in (1, 2, 3)]
    assert min(decades) > 150  # of 200 each on average; five deviations are 58
