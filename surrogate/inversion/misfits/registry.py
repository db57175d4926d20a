"""List the misfits by name, and say what a misfit is.

A misfit is one function in a file of this folder and its line in `MISFITS`; a config chooses it by name. All of them
share the rules for weights and silent traces (traces.py). How far off a prediction may be before each points the wrong
way is measured by `python -m benchmarks.misfit_basins`: docs/results/misfits.md.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from surrogate.inversion.misfits.adaptive_waveform import adaptive_waveform
from surrogate.inversion.misfits.cross_correlation_delay import cross_correlation_delay
from surrogate.inversion.misfits.envelope import envelope
from surrogate.inversion.misfits.frequency_phase import frequency_phase
from surrogate.inversion.misfits.global_correlation import global_correlation
from surrogate.inversion.misfits.huber import huber
from surrogate.inversion.misfits.l2 import l2
from surrogate.inversion.misfits.student_t import student_t
from surrogate.inversion.misfits.trace_normalized_l2 import trace_normalized_l2
from surrogate.inversion.misfits.wasserstein import wasserstein


@runtime_checkable
class Misfit(Protocol):
    """Compare predicted with observed data."""

    def __call__(
        self,
        predicted: Float[Array, "n_shots nt *rest"],
        observed: Float[Array, "n_shots nt *rest"],
        weights: Float[Array, "..."] | None = None,
    ) -> Float[Array, ""]:
        """Compute the misfit: a scalar, smallest where both are equal, and the same in any unit of the data.

        Args:
            predicted: Predicted data: gathers `(n_shots, nt, n_traces)`, or wavefields `(n_shots, nt, nz, nx)`, whose
                cells are traces.
            observed: Observed data of the same shape, not zero everywhere; where a weight is zero, anything.
            weights: Factors of both, not negative, with as many axes as the data, each as long as the data's or 1;
                None for ones. See the rules in traces.py.

        Returns:
            The misfit.

        Raises:
            InputError: If the shapes differ, or the weights do not fit them.
        """
        ...


# A misfit is one function and its line here; a config chooses it by name.
MISFITS: dict[str, Misfit] = {
    "l2": l2,
    "trace_normalized_l2": trace_normalized_l2,
    "global_correlation": global_correlation,
    "huber": huber,
    "student_t": student_t,
    "envelope": envelope,
    "cross_correlation_delay": cross_correlation_delay,
    "wasserstein": wasserstein,
    "adaptive_waveform": adaptive_waveform,
    "frequency_phase": frequency_phase,
}
