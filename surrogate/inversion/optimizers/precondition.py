"""Precondition updates: P m = w / sqrt(c) * (G m), where G smooths over cells and the weights w grow with depth.

The unknown is v = start + P m. A gradient method over m is one over v with the metric P P^T in place of the inverse
Hessian.

The copies c: absorbing layers continue the model's edge values, so that the gradient by an outermost cell is that of c
cells, the whole layer's. The norm of a change over all these cells is sum c dv^2; where nothing else is known, steepest
descent in it goes along g / c. Without, the outermost cells change too much, and the others too little.

The depth weights are `w = (depth / largest depth)^depth_power`. In two dimensions the energy of a wave falls as 1 / r
on the way down and again on the way up, so the Hessian's diagonal under a survey at the surface falls as 1 / z^2. The
`w^2` of `P P^T` compensates that with a power of 1. A power of 0.5 is safer where the data hardly see the bottom: in
200 iterations of `inversion=gathers` the model error fell by 49 % with 0.5, and by 25 % with 1 (too fast a bottom).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.ndimage
import scipy.sparse
from jaxtyping import Float64

from surrogate.inversion.optimizers.protocol import Vector


def depth_weights(rows: int, power: float) -> Float64[np.ndarray, "nz 1"]:
    """Weigh updates by the power of the depth, one at the bottom.

    Args:
        rows: Number of rows of the model.
        power: Power of the depth, which counts from one cell above the model.

    Returns:
        The weights `(nz, 1)`.
    """
    return ((np.arange(rows)[:, None] + 1.0) / rows) ** power


Vectors = Float64[np.ndarray, "*batch n"]


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """Hold the weights and the smoothing of P m = w / sqrt(c) * (G m), for one vector or several.

    Attributes:
        weights: Weights w of every unknown `(n,)`.
        smoothers: One matrix for each axis of the model, whose product is G; none: unknowns are not smoothed.
        copies: Cells c that have the value of each unknown `(n,)`; 1 for all.
    """

    weights: Vector
    smoothers: tuple[scipy.sparse.csr_array, ...] = ()
    copies: Vector | float = 1.0

    @cached_property
    def scales(self) -> Vector:
        """Diagonal of P where nothing is smoothed: w / sqrt(c) `(n,)`."""
        return self.weights / np.sqrt(self.copies)

    def smooth(self, vectors: Vectors) -> Vectors:
        """Multiply by G.

        Args:
            vectors: Vectors `(..., n)`.

        Returns:
            The products `(..., n)`.
        """
        return _along_axes(self.smoothers, vectors)

    def __call__(self, vectors: Vectors) -> Vectors:
        """Multiply by P.

        Args:
            vectors: Vectors `(..., n)`.

        Returns:
            The products `(..., n)`.
        """
        return self.scales * self.smooth(vectors)

    def transpose(self, vectors: Vectors) -> Vectors:
        """Multiply by P^T.

        Args:
            vectors: Vectors `(..., n)`.

        Returns:
            The products `(..., n)`.
        """
        return _along_axes(self._transposed, self.scales * vectors)

    def metric(self, vectors: Vectors) -> Vectors:
        """Multiply by P P^T.

        Args:
            vectors: Vectors `(..., n)`.

        Returns:
            The products `(..., n)`.
        """
        return self(self.transpose(vectors))

    def smoother(self, shape: tuple[int, ...], deviation: float) -> "Preconditioner":
        """Smooth by one more Gaussian.

        Args:
            shape: Shape of the model `(nz, nx)`, or `(n, nz, nx)` for n fields.
            deviation: Standard deviation of the Gaussian [cells].

        Returns:
            The preconditioner whose G smooths by both.
        """
        more = tuple(_gaussian(length, deviation) for length in shape[-2:])
        if self.smoothers:
            more = tuple(scipy.sparse.csr_array(new @ old) for new, old in zip(more, self.smoothers, strict=True))
        return replace(self, smoothers=more)

    @cached_property
    def _transposed(self) -> tuple[scipy.sparse.csr_array, ...]:
        return tuple(matrix.T.tocsr() for matrix in self.smoothers)


def make_preconditioner(
    shape: tuple[int, ...], smoothing: float = 0.0, depth_power: float = 0.0, copies: Vector | float = 1.0
) -> Preconditioner:
    """Make the preconditioner of a model.

    Args:
        shape: Shape of the model `(nz, nx)`, or `(n, nz, nx)` for n fields, each of which is treated alike.
        smoothing: Standard deviation of the Gaussian by which G smooths [cells], 0 for none.
        depth_power: Power of the depth by which updates are weighted.
        copies: Cells that have the value of each unknown, in the order of the model; 1 for all.

    Returns:
        The preconditioner.
    """
    weights = np.broadcast_to(depth_weights(shape[-2], depth_power), shape).ravel()
    plain = Preconditioner(weights, copies=copies)
    return plain.smoother(shape, smoothing) if smoothing else plain


def _gaussian(length: int, deviation: float) -> scipy.sparse.csr_array:
    """Return the matrix of `gaussian_smooth` (data_gen/common/smoothing.py) along one axis."""
    return scipy.sparse.csr_array(
        scipy.ndimage.gaussian_filter1d(np.eye(length), deviation, axis=0, mode="nearest", truncate=3.0)
    )


def _along_axes(matrices: tuple[scipy.sparse.csr_array, ...], vectors: Vectors) -> Vectors:
    if not matrices:
        return vectors
    rows, columns = matrices
    models = vectors.reshape(-1, len(rows.indptr) - 1, len(columns.indptr) - 1)
    return np.stack([(columns @ (rows @ model).T).T for model in models]).reshape(vectors.shape)
