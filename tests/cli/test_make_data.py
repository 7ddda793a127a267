"""``xaiserve make-data`` and ``xaiserve train classifier`` as they are typed."""

import json

import pytest
from click.testing import CliRunner

from xaiserve.cli import main


def run(*words):
    return CliRunner().invoke(main, list(map(str, words)))


def test_a_data_set_is_made_once(tmp_path):
    words = ("make-data", "planted", "--out", tmp_path / "set", "--count", 2, "--seed", 3)
    first, second = run(*words), run(*words)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "2 pictures, " in first.stdout
    assert "(0 were there already)" in first.stdout
    assert "(2 were there already)" in second.stdout
    told = json.loads(run(*words, "--json").stdout)
    assert (told["pictures"], told["found"]) == (2, 2)


def test_another_data_set_in_its_place_is_misuse(tmp_path):
    words = ("make-data", "synthetic-clear", "--out", tmp_path, "--count", 1)
    assert run(*words).exit_code == 0
    other = run(*words, "--preset", "script")
    assert other.exit_code == 2
    assert "holds another data set" in other.stderr
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize("words", [("--count", 0), ("--count", 2, "--preset", "paper"), ()])
def test_a_wrong_option_is_misuse(tmp_path, words):
    assert run("make-data", "synthetic-clear", "--out", tmp_path, *words).exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either --images, at least twice, or --manifest"),
        (("--images", "{photos}"), "at least two classes, got photos"),
        (("--images", "{photos}", "--images", "no-folder"), "no-folder does not exist"),
        (("--images", "{photos}", "--images", "b={photos}", "--set", "side=7"), "side must be"),
        (("--images", "{photos}", "--set", "size=7"), "size is not a parameter; known are network"),
        (("--images", "a={photos}", "--images", "b={photos}"), "class 'a' must have at least 4"),
        (("--images", "{photos}", "--set", "steps=3", "--epochs", "1"), "not both"),
        (("--manifest", "{photos}"), "row '000.png' has no label"),
    ],
)
def test_a_training_that_cannot_be_says_why(photos, tmp_path, words, said):
    words = [word.format(photos=photos) for word in words]
    ended = run("train", "classifier", "--out", tmp_path / "model", *words)
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr
    assert not (tmp_path / "model").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_training(photos, tmp_path):
    (tmp_path / "file").write_text("")
    images = ("--images", f"a={photos}", "--images", f"b={photos}")
    ended = run("train", "classifier", "--out", tmp_path / "file" / "model", *images)
    assert ended.exit_code == 2
    assert "file/model cannot be written: Not a directory" in ended.stderr


def test_a_folder_of_something_else_is_not_trained_into(photos, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    images = ("--images", f"a={photos}", "--images", f"b={photos}")
    ended = run("train", "classifier", "--out", tmp_path, *images)
    assert ended.exit_code == 2
    assert "something else than a classifier trained here" in ended.stderr
