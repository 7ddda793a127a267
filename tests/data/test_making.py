"""Data sets made in pieces: the same files however they came about."""

import pytest

from xaiserve.data import making
from xaiserve.data.dataset import read_manifest
from xaiserve.data.making import Planted, SyntheticClear, make_dataset
from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.storage.local import LocalStore

SET = SyntheticClear(seed=7)


def files(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def pieces_of_four(monkeypatch):
    monkeypatch.setattr(making, "PIECE", 4)


@pytest.mark.usefixtures("pieces_of_four")
def test_a_run_that_was_stopped_goes_on_and_makes_the_same_files(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make_dataset(SET, 10, str(whole))

    def stop(done):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(SET, 10, str(broken), on_samples=stop)
    told = []
    made = make_dataset(SET, 10, str(broken), on_samples=told.append)
    assert (made.pictures, made.found) == (10, 4)
    assert told == [4, 4, 2]
    assert files(broken) == files(whole)


@pytest.mark.usefixtures("pieces_of_four")
def test_a_second_process_that_ends_later_changes_nothing(tmp_path):
    make_dataset(SET, 6, str(tmp_path))
    before = files(tmp_path)
    making._make_piece((SET, 4, 2, str(tmp_path)))
    making._finish(LocalStore(tmp_path), range(0, 6, 4))
    assert files(tmp_path) == before


@pytest.mark.slow
def test_several_processes_make_the_same_files(tmp_path):
    make_dataset(SET, 120, str(tmp_path / "one"))
    make_dataset(SET, 120, str(tmp_path / "two"), workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_planted_pictures_come_with_their_number_of_explanations(tmp_path):
    made = make_dataset(Planted(seed=1), 4, str(tmp_path))
    rows = read_manifest(tmp_path / "manifest.csv")
    assert made.diseased == sum(row.explanations is not None for row in rows) > 0


@pytest.mark.parametrize(
    "other", [(SyntheticClear(seed=8), 2), (SET, 3), (SyntheticClear(seed=7, preset="script"), 2)]
)
def test_a_folder_of_another_data_set_is_refused(tmp_path, other):
    make_dataset(SET, 2, str(tmp_path))
    before = files(tmp_path)
    with pytest.raises(ConflictError, match=r"holds another data set, .* asked for is"):
        make_dataset(*other, str(tmp_path))
    assert files(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConflictError, match="holds files of something else"):
        make_dataset(SET, 2, str(tmp_path))


def test_no_picture_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="count must be at least 1, got 0"):
        make_dataset(SET, 0, str(tmp_path))
