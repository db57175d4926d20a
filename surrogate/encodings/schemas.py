"""Define the settings of encodings, which a config chooses by name: `encoding=NAME`."""

from dataclasses import dataclass, replace

import numpy as np

from data_gen.common.ranges import check_fields, ranged
from data_gen.solver.problem.checks import check_velocity
from surrogate.encodings.coarse_solver import RATIO


@dataclass
class EncodingConfig:
    """Settings that every encoding has.

    Attributes:
        name: Name of the encoding; chosen with `encoding=NAME`, never set by itself.
    """

    name: str = ""

    def check(self) -> None:
        """Refuse values that no encoding could use.

        Raises:
            InputError: If there is such a value.
        """
        check_fields(self, "encoding")

    def on_spacing(self, ours: float, theirs: float) -> "EncodingConfig":
        """Return the settings that mean the same on cells of another size.

        Args:
            ours: Spacing of the grid of these settings [m].
            theirs: Spacing of the other grid [m].

        Returns:
            Settings for the other grid.
        """
        return self


@dataclass
class SourceMapConfig(EncodingConfig):
    """Mark the source in the input: the operator must propagate the wave itself.

    Attributes:
        name: Name of the encoding; chosen with `encoding=source_map`.
        radius: Standard deviation of the Gaussian at the source [cells]. The direct wave that gathers see in its place
            is as wide as the wavelet, whatever the radius is.
    """

    name: str = "source_map"
    radius: float = ranged(2.0, "(0, inf)")

    def on_spacing(self, ours: float, theirs: float) -> "SourceMapConfig":
        """See `EncodingConfig.on_spacing`: the radius keeps its length in meters."""
        return replace(self, radius=self.radius * ours / theirs)


@dataclass
class BackgroundConfig(EncodingConfig):
    """Give the operator the field of a homogeneous medium: where and when a wave would be without the model.

    Attributes:
        name: Name of the encoding; chosen with `encoding=background`.
        velocity: Velocity of the homogeneous medium [m/s].
    """

    name: str = "background"
    velocity: float = ranged(2500.0, "(0, inf)")

    def check(self) -> None:
        """See `EncodingConfig.check`."""
        super().check()
        check_velocity(np.asarray(self.velocity), "encoding.velocity")


@dataclass
class CoarseConfig(EncodingConfig):
    """Give the operator the field of the same solver on larger cells, which the operator corrects.

    Attributes:
        name: Name of the encoding; chosen with `encoding=coarse`.
        ratio: Side of a cell of the coarse solver, in cells of the data's grid: any number above 1.
    """

    name: str = "coarse"
    ratio: float = ranged(RATIO, "(1, inf)")

    def on_spacing(self, ours: float, theirs: float) -> "CoarseConfig":
        """See `EncodingConfig.on_spacing`: the coarse solver keeps its cells in meters."""
        return replace(self, ratio=self.ratio * ours / theirs)


@dataclass
class NoneConfig(EncodingConfig):
    """Give the operator what the task reads as it is.

    Attributes:
        name: Name of the encoding; chosen with `encoding=none`.
    """

    name: str = "none"


@dataclass
class LogConfig(EncodingConfig):
    """Give the operator the logarithm of the gathers, in which weak reflections are seen.

    Attributes:
        name: Name of the encoding; chosen with `encoding=log`.
    """

    name: str = "log"
