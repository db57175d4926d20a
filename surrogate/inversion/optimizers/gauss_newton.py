"""Minimize by Gauss-Newton in a trust region: B = J^T M J leaves out how the forward model bends.

J is the forward model's Jacobian, and M the Hessian of the misfit over the data. With a misfit that is convex over the
data B has no negative curvature, so that far from the minimum its steps are safer than Newton's.
Source: R. G. Pratt, C. Shin and G. J. Hicks, Geophysical Journal International 133 (1998), 341-362.
"""

from dataclasses import dataclass
from typing import ClassVar

from surrogate.inversion.optimizers.trust_region import TrustRegion


@dataclass(frozen=True, eq=False)
class GaussNewton(TrustRegion):
    """Minimize by Gauss-Newton; see `TrustRegion`."""

    product: ClassVar[str] = "gauss_newton_product"
