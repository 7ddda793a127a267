import pytest

from xaiserve.report.shares import share_of


@pytest.mark.parametrize(
    ("fraction", "said"),
    [(0.0, "0.0%"), (1e-5, "under 0.1%"), (0.001, "0.1%"), (0.2264, "22.6%"), (1.0, "100.0%")],
)
def test_little_is_not_told_to_be_nothing(fraction: float, said: str) -> None:
    assert share_of(fraction) == said
