"""Run the constant-density time loop and its adjoint in C++, for CPUs. kernel.cc has the equations."""

from data_gen.solver.engines.native.engine import NativeEngine
from data_gen.solver.engines.native.library import compiler, fault, load

__all__ = ["NativeEngine", "compiler", "fault", "load"]
