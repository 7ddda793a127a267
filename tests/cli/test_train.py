"""``xaiserve train``: options, refusals and help, without a cluster."""

import pytest
from click.testing import CliRunner

from xaiserve.cli import main
from xaiserve.cli.train_contrast_gan import make_config
from xaiserve.errors import InvalidInputError
from xaiserve.testing.gans import write_squares

NONE = {
    "epochs": None,
    "side": None,
    "channels": None,
    "classifier": None,
    "settings": (),
}


def train(*words):
    return CliRunner().invoke(main, ["train", "contrast-gan", *words])


def test_help_lists_what_can_be_trained_without_importing_torch():
    ended = CliRunner().invoke(main, ["train", "--help"])
    assert ended.exit_code == 0
    assert "contrast-gan" in ended.stdout
    assert "--preset" in train("--help").stdout


def test_options_change_the_preset(tmp_path):
    config = make_config(
        images=("a", "b"),
        out=str(tmp_path),
        **NONE | {"epochs": 7, "side": 128, "settings": (("norm", "batch"),)},
    )
    wanted = config.wanted()
    assert (wanted.options.epochs, wanted.architecture.side) == (7, 128)
    assert wanted.architecture.norm == "batch"
    assert config.out == str(tmp_path)


def test_a_setting_given_twice_is_refused():
    with pytest.raises(InvalidInputError, match="given once"):
        make_config(
            images=("a", "b"), out="o", **NONE | {"epochs": 7, "settings": (("epochs", "8"),)}
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "sides=3"], "sides is not a parameter"),
        (["--side", "100"], "side must be a multiple of 8"),
        (["--epochs", "0"], "epochs must be an integer from 1"),
        (["--max-seconds", "-1"], "above 0"),
    ],
)
def test_wrong_options_end_with_one_sentence(tmp_path, words, message):
    dark, lit = write_squares(tmp_path)
    ended = train("--images", dark, "--images", lit, "--out", str(tmp_path / "out"), *words)
    assert ended.exit_code == 2
    assert message in ended.stderr


def test_one_folder_is_refused(tmp_path):
    dark, _ = write_squares(tmp_path)
    ended = train("--images", dark, "--out", str(tmp_path / "out"))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "images must be two folders, one for each class, got 1" in ended.stderr
