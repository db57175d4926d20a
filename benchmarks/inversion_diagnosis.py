"""Name what is wrong with the data of a case, by the findings of `wave diagnose invert`."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inversion_contender import Problem
from benchmarks.peers.ours_inversion import config_of, forward_of, record_of
from surrogate.inversion.diagnosis.gathers import diagnose_gathers
from surrogate.inversion.diagnosis.record import make_record


def findings(problem: Problem) -> list[str]:
    """The names of all findings that are not good, on the data that ours is given and those predicted in the start."""
    forward, record = forward_of(problem), record_of(problem)
    predicted = np.asarray(jax.jit(forward.__call__)(jnp.asarray(problem.start)), float)
    config = config_of(problem, "lbfgs")
    both = make_record(record.weights, forward, record.gathers.astype(float), predicted, config)
    return [finding.name for finding in diagnose_gathers(both).findings if finding.severity != "good"]
