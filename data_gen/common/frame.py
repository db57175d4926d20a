"""Relate positions in a vertical section to coordinates in the world.

    X = X_0 + d_x x,    Y = Y_0 + d_y x,    elevation = datum - z

A section has z down from the datum and x along a horizontal line through (X_0, Y_0) with the unit vector (d_x, d_y).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Frame(NamedTuple):
    """Place a vertical section in the world.

    Attributes:
        datum: Elevation of z = 0 [m].
        unit: Length of the unit of the file that positions were read from [m]; positions themselves are in meters.
        origin: World coordinates (X_0, Y_0) of x = 0 [m].
        direction: Unit vector (d_x, d_y) of the line.
    """

    datum: float = 0.0
    unit: float = 1.0
    origin: tuple[float, float] = (0.0, 0.0)
    direction: tuple[float, float] = (1.0, 0.0)

    def world(self, points: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
        """Compute world coordinates.

        Args:
            points: Positions (z, x) in the section `(..., 2)` [m].

        Returns:
            Coordinates X and Y and the elevation `(..., 3)` [m].
        """
        z, x = points[..., 0], points[..., 1]
        horizontal = [start + along * x for start, along in zip(self.origin, self.direction, strict=True)]
        return np.stack([*horizontal, self.datum - z], axis=-1)

    def along(self, horizontal: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
        """Project world coordinates on the line.

        Args:
            horizontal: Coordinates X and Y `(..., 2)` [m].

        Returns:
            Positions x along the line `(...,)` [m].
        """
        # By component: the same coordinates then give the same bits in any array, as products of matrices need not.
        (x0, y0), (dx, dy) = self.origin, self.direction
        return (horizontal[..., 0] - x0) * dx + (horizontal[..., 1] - y0) * dy


def frame_of_line(points: Float[np.ndarray, "n 2"], direction: Float[np.ndarray, "2"], unit: float) -> Frame:
    """Make the frame of a line, whose x is the world coordinates' component along it.

    Args:
        points: Horizontal coordinates of what lies along it `(n, 2)`, in the file's unit.
        direction: Its unit vector `(2,)`.
        unit: Length of the file's unit [m].

    Returns:
        The frame of the line through their mean, with the datum at an elevation of zero.
    """
    (dx, dy), mean = direction, points.mean(axis=0)
    # The foot of the perpendicular from the world's origin: x then is X dx + Y dy.
    across = mean[1] * dx - mean[0] * dy
    foot = (float(-across * dy * unit) + 0.0, float(across * dx * unit) + 0.0)
    return Frame(0.0, unit, foot, (float(dx), float(dy)))
