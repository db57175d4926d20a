"""Minimize a misfit over a model within bounds: the optimizers of an inversion, by name."""

from collections.abc import Callable

from surrogate.inversion.optimizers.adam import Adam
from surrogate.inversion.optimizers.gauss_newton import GaussNewton
from surrogate.inversion.optimizers.lbfgs import LBFGS
from surrogate.inversion.optimizers.newton_cg import NewtonCG
from surrogate.inversion.optimizers.precondition import Preconditioner
from surrogate.inversion.optimizers.protocol import Optimizer, Settings
from surrogate.inversion.optimizers.proximal_lbfgs import ProximalLBFGS

# An optimizer is one file and its line here; a config chooses it by name.
OPTIMIZERS: dict[str, Callable[[Settings, Preconditioner], Optimizer]] = {
    "adam": Adam.create,
    "lbfgs": LBFGS.create,
    "gauss_newton": GaussNewton.create,
    "newton_cg": NewtonCG.create,
    "proximal_lbfgs": ProximalLBFGS.create,
}

# Those that take total variation without smoothing, by its proximal operator.
PROXIMAL = ("proximal_lbfgs",)

# The derivative by which the solver's memory is planned (data_gen/solver/memory_plan.py), where it is not the gradient.
DERIVATIVES = {"gauss_newton": "gauss_newton", "newton_cg": "hessian"}
