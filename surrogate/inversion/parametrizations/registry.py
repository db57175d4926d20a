"""Register the parametrizations: a function of this table makes one for the models of an inversion."""

from collections.abc import Callable

from surrogate.inversion.parametrizations.base import Parametrization
from surrogate.inversion.parametrizations.elementwise import Log, Sigmoid, Slowness, SquaredSlowness, Velocity
from surrogate.inversion.parametrizations.network import CoordinateNetwork
from surrogate.inversion.parametrizations.splines import SplineGrid

# Each takes a `ModelSpace` and, as keywords, settings of its own.
PARAMETRIZATIONS: dict[str, Callable[..., Parametrization]] = {
    "velocity": Velocity.create,
    "slowness": Slowness.create,
    "squared_slowness": SquaredSlowness.create,
    "log": Log.create,
    "sigmoid": Sigmoid.create,
    "spline": SplineGrid.create,
    "network": CoordinateNetwork.create,
}
