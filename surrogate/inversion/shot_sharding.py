"""Share the shots of an inversion between devices and processes.

Every process reads the same files and runs the same optimizer on its host, in float64, on the same numbers: misfits and
gradients are sums over all devices, of which each process has a copy. Data stay where their shots are simulated.
"""

from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from data_gen.common.errors import InputError
from data_gen.common.ranges import ranged
from data_gen.solver.many_shots import AXIS, shot_mesh
from surrogate.devices import ProcessesConfig
from surrogate.inversion.forward import ForwardModel, PhysicsForward


@dataclass
class ShotsConfig(ProcessesConfig):
    """Set how several devices and processes share the shots of an inversion.

    Attributes:
        devices: Number of devices that share the shots; null takes one for each shot, as far as there are so many. With
            several processes all of their devices take part.
    """

    devices: int | None = ranged(None, "[1, inf)")

    def create(self, shots: int) -> Mesh | None:
        """Make the mesh over which shots are split.

        Args:
            shots: Number of shots.

        Returns:
            The mesh; None for one device.

        Raises:
            InputError: If there are fewer devices than asked for, fewer shots than devices, or several processes of
                which some would have nothing to do.
        """
        self.check()
        processes, there = jax.process_count(), jax.device_count()
        wanted = self.devices or (min(shots, there) if processes == 1 else there)
        if wanted > there:
            raise InputError(
                f"parallel.devices = {wanted}, but there {'is' if there == 1 else 'are'} {there}: {jax.devices()[0]}"
                f"{' and others' if there > 1 else ''}. Give at most {there}, or start a process for each device."
            )
        if processes > 1 and wanted != there:
            raise InputError(
                f"{processes} processes with {there} devices in all take part in this inversion, and all of these "
                f"devices must have shots, but parallel.devices = {wanted}. Leave it out, or start fewer processes."
            )
        if wanted > shots:
            raise InputError(
                f"{shots} shots cannot be shared by {wanted} devices"
                f"{f' of {processes} processes' if processes > 1 else ''}: some would have none. Take at most {shots} "
                "devices, or more shots."
            )
        return None if wanted == 1 else shot_mesh(jax.devices()[:wanted])


def place_shots(data: Array, forward: ForwardModel) -> Array:
    """Put data where the shots are simulated, so that no evaluation sends them anew.

    Args:
        data: Data or weights of all shots `(n_shots or 1, ...)`, the same in all processes.
        forward: Forward model.

    Returns:
        The data: as they are, if there is one device; split by shots, if the shots divide evenly; else on every device.
    """
    mesh = forward.mesh if isinstance(forward, PhysicsForward) else None
    if mesh is None:
        return data
    split = NamedSharding(mesh, P() if len(data) % mesh.shape[AXIS] else P(AXIS))
    here = np.asarray(data)
    return jax.make_array_from_callback(here.shape, split, lambda index: here[index])
