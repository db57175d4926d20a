"""Minimize by Newton's method in a trust region: B is the Hessian of the misfit over the model.

It has what Gauss-Newton leaves out: waves that are scattered twice. Where its curvature is negative, a step goes to the
edge of the trust region.
Source: L. Metivier, R. Brossier, J. Virieux and S. Operto, SIAM Journal on Scientific Computing 35 (2013), B401-B437.
"""

from dataclasses import dataclass
from typing import ClassVar

from surrogate.inversion.optimizers.trust_region import TrustRegion


@dataclass(frozen=True, eq=False)
class NewtonCG(TrustRegion):
    """Minimize by Newton's method; see `TrustRegion`."""

    product: ClassVar[str] = "hessian_product"
