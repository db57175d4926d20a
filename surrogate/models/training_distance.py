"""Measure how far a velocity model lies from those that a surrogate has learned from.

A model is described by FEATURES numbers: the quantiles of log v, and for each lag of LAGS cells along z and along x the
logarithm of the root mean square and of the largest change of log v over that lag. So they hold the velocities, the
spectrum of the heterogeneity, its direction, and how sharp and how strong its interfaces are.

    d(m) = r(m) / r_95,    r(m) = mean over the NEIGHBORS training models nearest to m of |W (f(m) - f(theirs))|

W divides each feature by its standard deviation over the training models, but by no less than FLOOR. r_95 is the 95th
percentile of r of the training models, each from the others: at d = 1 one of twenty is as far. Nearest neighbors, and
not one Gaussian, because families are clusters. Where training models do not vary in a feature, such as flat layers
along x, models that do are very far: distances beyond some 10 say no more than that.
Source of the idea: Y. Sun et al., "Out-of-distribution detection with deep nearest neighbors", ICML 2022; the features
are our own. docs/results/families.md shows which errors were measured at which distance.
"""

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_gen.common.files import write_bytes

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LAGS = (1, 2, 4, 8)  # cells
LEAST = 1e-3  # change of log v that counts as none
FLOOR = 0.05  # of log v, and of the logarithms of its changes
FEATURES = len(QUANTILES) + 4 * len(LAGS)
NEIGHBORS = 3
INSIDE = 95  # percentile of the training models at d = 1
FEWEST = 20  # training models that say what is usual
FAR = 2.0  # distance from which `warn_of_distance` warns


class DistanceWarning(UserWarning):
    """Warn that a surrogate is asked about a model that is unlike those that it has learned from."""


def features(velocity: Float[np.ndarray, "nz nx"]) -> Float[np.ndarray, " features"]:
    """Describe a velocity model by the numbers of the module's first lines.

    Args:
        velocity: Velocity model `(nz, nx)` [m/s].

    Returns:
        The features `(features,)`.
    """
    values = np.log(np.asarray(velocity, np.float64))
    found = [*np.quantile(values, QUANTILES)]
    for along in (values, values.T):
        for lag in LAGS:
            change = np.abs(along[lag:] - along[:-lag]) if lag < len(along) else np.zeros(1)
            found += [np.log(np.sqrt(np.mean(change**2)) + LEAST), np.log(change.max() + LEAST)]
    return np.array(found, np.float32)


@dataclass(frozen=True, eq=False)  # equal by content, below: part of what a compiled prediction is known by
class TrainingModels:
    """Hold the features of the models that a surrogate has learned from.

    Attributes:
        features: Features of training models `(n, features)`.

    Raises:
        ValueError: If they are not that.
    """

    features: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrainingModels) and np.array_equal(self.features, other.features)

    def __hash__(self) -> int:
        return hash(self.features.tobytes())

    @classmethod
    def of(cls, velocities: Iterable[np.ndarray]) -> "TrainingModels":
        """Describe training models.

        Args:
            velocities: Velocity models `(nz, nx)` [m/s], at least FEWEST.

        Returns:
            Their features.
        """
        return cls(np.stack([features(velocity) for velocity in velocities]))

    def __post_init__(self):
        found = self.features
        good = found.ndim == 2 and found.shape[1] == FEATURES and len(found) >= FEWEST and found.dtype == np.float32
        if not good or not np.isfinite(found).all():
            raise ValueError(
                f"finite features of at least {FEWEST} training models were expected, float32 (n, {FEATURES}), but got "
                f"{found.dtype} {found.shape}"
            )

    def save(self, file: Path) -> None:
        """Write the features to a file.

        Args:
            file: The file, .npy.
        """
        content = io.BytesIO()
        np.save(content, self.features, allow_pickle=False)
        write_bytes(file, content.getvalue())

    @cached_property
    def _scale(self) -> np.ndarray:
        return np.maximum(self.features.std(axis=0), FLOOR)

    @cached_property
    def _unit(self) -> float:
        own = [self._nearest(one, np.delete(self.features, k, axis=0)) for k, one in enumerate(self.features)]
        # Equal models are no measure: no less than one standard deviation, or FLOOR, of one feature.
        return max(float(np.percentile(own, INSIDE)), 1.0)

    def _nearest(self, one: np.ndarray, others: np.ndarray) -> float:
        away = np.linalg.norm((others - one) / self._scale, axis=1)
        return float(np.partition(away, NEIGHBORS - 1)[:NEIGHBORS].mean())

    def distance(self, velocity: Float[np.ndarray, "nz nx"]) -> float:
        """Compute the distance d of the module's equation.

        Args:
            velocity: Velocity model `(nz, nx)` [m/s].

        Returns:
            The distance; up to 1 for nineteen of twenty training models.
        """
        return self._nearest(features(velocity), self.features) / self._unit


def warn_of_distance(known: TrainingModels | None, velocities: Iterable[np.ndarray]) -> None:
    """Warn if models are unlike those that a surrogate has learned from.

    Args:
        known: The training models; None where they are not known, then there is no warning.
        velocities: Velocity models `(nz, nx)` [m/s].
    """
    if known is None:
        return
    once = {np.asarray(velocity).tobytes(): velocity for velocity in velocities}  # many shots are of one model
    distances = [known.distance(np.asarray(velocity)) for velocity in once.values()]
    far = [distance for distance in distances if distance > FAR]
    if far:
        which = f"{len(far)} of {len(distances)} velocity models are" if len(distances) > 1 else "The velocity model is"
        warnings.warn(
            f"{which} unlike those that the surrogate has learned from: distance {max(far):.1f}, which for nineteen of "
            f"twenty of its training models is at most 1. Its errors may be larger than those of its evaluation. "
            "Compare with the solver, or train on models like these.",
            DistanceWarning,
            stacklevel=3,
        )


def describe_distances(known: TrainingModels | None, velocities: Iterable[np.ndarray]) -> dict[str, float] | None:
    """Summarize how far models are from those that a surrogate has learned from.

    Args:
        known: The training models; None where they are not known.
        velocities: Velocity models `(nz, nx)` [m/s].

    Returns:
        Median and largest distance, and the fraction of distances above FAR; None where nothing is known.
    """
    if known is None:
        return None
    distances = np.array([known.distance(np.asarray(velocity)) for velocity in velocities])
    return {
        "median": float(np.median(distances)),
        "largest": float(np.max(distances)),
        "far": float(np.mean(distances > FAR)),
    }
