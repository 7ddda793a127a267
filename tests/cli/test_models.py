import json
import shutil
from pathlib import Path

from click.testing import CliRunner

from xaiserve.cli import main


def inspect(*arguments: str) -> str:
    ended = CliRunner().invoke(main, ["models", "inspect", *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_says_formats_size_and_labels(model_folder: Path) -> None:
    shown = inspect(str(model_folder))
    assert "model.onnx" in shown
    assert "dark, light" in shown
    assert "scores from:        onnx" in shown
    assert "rule:               the class that scores highest" in shown


def test_a_rule_of_thresholds_is_told(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    stated = json.loads((folder / "xaiserve.json").read_text())
    stated |= {"activation": "sigmoid", "rule": {"thresholds": [0.25, 0.5]}}
    (folder / "xaiserve.json").write_text(json.dumps(stated))
    assert "rule:               at least 0.25, 0.5" in inspect(str(folder))


def test_json_holds_the_specification(model_folder: Path) -> None:
    assert json.loads(inspect(str(model_folder), "--json"))["spec"]["labels"] == ["dark", "light"]


def test_long_lists_of_labels_are_cut(data: Path) -> None:
    shown = inspect(str(data / "classifiers" / "mobilenet_v2_imagenet1k"))
    assert "; ... (1000)" in shown
    assert "warning: several classes share a name: crane" in shown


def test_a_folder_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["models", "inspect", str(tmp_path / "nowhere")])
    assert ended.exit_code == 2
