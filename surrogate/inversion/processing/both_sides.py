"""Treat predicted and observed gathers alike before a misfit compares them. Differentiable.

The wavelet's filter comes first, so that it is estimated from true amplitudes; then each side is weighted and divided
by its own root mean squares. The filter's derivative is part of the gradient, whatever the misfit: for least squares
it vanishes (variable projection, source_estimation.py).
"""

from dataclasses import dataclass

from jaxtyping import Array, Float

from surrogate.inversion.processing.normalization import normalize_shots, normalize_traces
from surrogate.inversion.source_estimation import match_source

NORMALIZATIONS = {"traces": normalize_traces, "shots": normalize_shots}


@dataclass(frozen=True)
class BothSides:
    """Describe what is done to gathers before they are compared.

    Attributes:
        source: `fixed`, or the filter of the wavelets that is estimated: `one` for all shots, or one for `each`.
        normalize: `none`, `traces` or `shots`.
    """

    source: str = "fixed"
    normalize: str = "none"

    def __call__(
        self,
        predicted: Float[Array, "n_shots nt n_receivers"],
        observed: Float[Array, "n_shots nt n_receivers"],
        weights: Float[Array, "n_shots #nt #n_receivers"] | None,
    ) -> tuple[Array, Array, Array | None]:
        """Treat both sides.

        Args:
            predicted: Predicted gathers `(n_shots, nt, n_receivers)`.
            observed: Observed gathers `(n_shots, nt, n_receivers)`, zero where their weight is zero.
            weights: Weights of the data, or None.

        Returns:
            Predicted and observed gathers, and the weights that remain.
        """
        if self.source != "fixed":
            predicted = match_source(predicted, observed, weights, per_shot=self.source == "each")
        if self.normalize == "none":
            return predicted, observed, weights
        divide = NORMALIZATIONS[self.normalize]
        if weights is None:
            return divide(predicted), divide(observed), None
        used = (weights > 0).astype(weights.dtype)
        return divide(weights * predicted), divide(weights * observed), used
