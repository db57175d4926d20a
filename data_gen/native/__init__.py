"""The constant-density time loop in C++ for CPUs, with jvp, vjp and Hessian-vector products of its own.

    gathers, snapshots = propagate(m, q)              m = v^2 dt^2 on the padded grid, q the sources' injections
    d(gathers, snapshots) = tangent(m, q) (dm, dq)    Born modelling: forward with numbers x_0 + x_1 eps
    (dm, dq) = adjoint(m, q) d(gathers, snapshots)    the exact transpose of the tangent

kernel.cc has the equations. Derivatives beyond the second, and reverse mode of a forward derivative, go through
loop.py, which computes the same discrete map.
"""

from data_gen.native.library import compiler, load
from data_gen.native.maps import propagate, suits

__all__ = ["compiler", "load", "propagate", "suits"]
