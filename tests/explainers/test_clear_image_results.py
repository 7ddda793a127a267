import pytest

from xaiserve.explainers.clear_image.results import ClearExplanation
from xaiserve.storage.records import from_rows, to_table
from xaiserve.testing.clear_explanations import clear_explanation, clear_lattice
from xaiserve.testing.contracts import equal_as_stored, same


@pytest.mark.parametrize("lattice", [None, clear_lattice()], ids=["without lattice", "with"])
def test_an_explanation_survives_a_record(lattice):
    found = clear_explanation(lattice=lattice)
    (again,) = from_rows(ClearExplanation, to_table([found], ClearExplanation).to_pylist())
    same(found, again, equal_as_stored)
