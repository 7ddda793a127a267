"""Shapes as masks (h, w), in pixel coordinates x to the right and y downwards."""

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import binary_dilation
from skimage import draw

from xaiserve.data.sample import SIDE, Mask

SHAPE = (SIDE, SIDE)

Point = tuple[int, int]
"""x, y in pixels."""

Levels = Float64[np.ndarray, "h w"]


def ripples(centre: tuple[float, float], height: float, frequency: float) -> Levels:
    """Draw circular waves h sin(r f) around ``centre``, r the distance in whole pixels."""
    x, y = centre
    rows, columns = np.indices(SHAPE)
    distance = np.floor(np.hypot(columns - x, rows - y))
    return np.asarray(height * np.sin(distance * frequency))


def disc(centre: Point, radius: float) -> Mask:
    """Fill the circle of ``radius`` around ``centre``."""
    x, y = centre
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius**2)


def box(x0: int, y0: int, x1: int, y1: int) -> Mask:
    """Fill columns ``x0`` to ``x1`` and rows ``y0`` to ``y1``, both ends included."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def square(centre: Point, half_side: int) -> Mask:
    """Fill the upright square of side 2 ``half_side`` + 1 around ``centre``."""
    x, y = centre
    return box(x - half_side, y - half_side, x + half_side, y + half_side)


def triangle(centre: Point, circumradius: float) -> Mask:
    """Fill the regular triangle around ``centre`` that points upwards."""
    x, y = centre
    angles = np.deg2rad([-90, 30, 150])
    rows, columns = y + circumradius * np.sin(angles), x + circumradius * np.cos(angles)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[draw.polygon(rows, columns, shape=SHAPE)] = True  # type: ignore[no-untyped-call]
    return mask


def pie(centre: Point, radius: int, start_deg: float, stop_deg: float) -> Mask:
    """Fill the slice from ``start_deg`` to ``stop_deg``, clockwise from three o'clock."""
    x, y = centre
    rows, columns = np.indices(SHAPE)
    angles = np.rad2deg(np.arctan2(rows - y, columns - x)) % 360
    return disc(centre, radius) & (start_deg <= angles) & (angles <= stop_deg)


def ellipse_outline(
    centre: Point, semi_axes: tuple[float, float], rotation: float, thickness: int
) -> Mask | None:
    """Draw ``thickness`` outlines, each with semi-axes one pixel longer than the one before.

    Parameters
    ----------
    centre, semi_axes
        In pixels; the first semi-axis lies along x when ``rotation`` is 0.
    rotation
        In radians, counter-clockwise as seen on the screen.
    thickness
        Number of outlines.

    Returns
    -------
    Mask or None
        None when any outline leaves the picture.
    """
    mask = np.zeros(SHAPE, dtype=bool)
    for grown in range(thickness):
        rows, columns = _outline(centre, (semi_axes[0] + grown, semi_axes[1] + grown), rotation)
        if min(rows.min(), columns.min()) < 0 or max(rows.max(), columns.max()) >= SIDE:
            return None
        mask[rows, columns] = True
    return mask


def _outline(
    centre: Point, semi_axes: tuple[float, float], rotation: float
) -> tuple["np.typing.NDArray[np.intp]", "np.typing.NDArray[np.intp]"]:
    # Sampled at under half a pixel, so that the outline is closed. scikit-image's own
    # ellipse_perimeter rounds the axes and can leave a rotated outline open.
    a, b = semi_axes
    turn = np.linspace(0, 2 * np.pi, int(16 * max(semi_axes)), endpoint=False)
    along, across = a * np.cos(turn), b * np.sin(turn)
    columns = centre[0] + along * np.cos(rotation) + across * np.sin(rotation)
    rows = centre[1] - along * np.sin(rotation) + across * np.cos(rotation)
    return np.rint(rows).astype(np.intp), np.rint(columns).astype(np.intp)


def touch(one: Mask, other: Mask) -> bool:
    """Say whether two masks share a pixel or have pixels side by side, diagonals included."""
    grown = binary_dilation(one, structure=np.ones((3, 3), dtype=bool))
    return bool((grown & other).any())
