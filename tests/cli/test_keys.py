"""``xaiserve keys``: a key is shown once, listed without its secret, and revoked by name."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from xaiserve.cli.main import main


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, words)])


def test_a_key_is_printed_once_and_alone_on_standard_output(tmp_path: Path):
    file = tmp_path / "keys.json"
    made = run("create", "--file", file, "--name", "viewer", "--scope", "explain", "--rate", 2)

    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key.startswith("xai_")
    assert key not in made.stderr
    listed = run("list", "--file", file)
    assert "usable  viewer  explain  2 requests/s" in listed.stdout
    (shown,) = json.loads(run("list", "--file", file, "--json").stdout)
    assert "sha256" not in shown
    for text in (listed.stdout, file.read_text()):
        assert key.split("_", 2)[2] not in text


def test_a_revoked_key_stays_in_the_list(tmp_path: Path):
    file = tmp_path / "keys.json"
    run("create", "--file", file, "--name", "viewer")
    revoked = run("revoke", "viewer", "--file", file)

    assert (revoked.exit_code, revoked.stdout) == (0, "")
    assert "(viewer) is revoked" in revoked.stderr
    assert "revoked viewer" in run("list", "--file", file).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("list", "--file", "absent.json"), "absent.json does not exist"),
        (("revoke", "a", "--file", "absent.json"), "absent.json does not exist"),
        (("create", "--name", "a", "--rate", "0"), "requests_per_s"),
        (("create", "--name", "a", "--file", "absent/keys.json"), "cannot be written"),
    ],
)
def test_misuse_is_told_in_one_sentence(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = run(*words)

    assert result.exit_code == 2
    assert told in result.stderr
