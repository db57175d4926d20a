"""Register the regularizers: each is a class whose fields are its settings."""

from collections.abc import Callable

from surrogate.inversion.regularizers.base import Regularizer
from surrogate.inversion.regularizers.distance import Distance
from surrogate.inversion.regularizers.gaussian_prior import GaussianPrior
from surrogate.inversion.regularizers.tikhonov import FirstOrder, SecondOrder
from surrogate.inversion.regularizers.total_variation import TotalVariation

REGULARIZERS: dict[str, Callable[..., Regularizer]] = {
    "first_order": FirstOrder,
    "second_order": SecondOrder,
    "total_variation": TotalVariation,
    "gaussian_prior": GaussianPrior,
    "distance": Distance,
}
