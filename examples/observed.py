"""Write shots as a survey would, with their geometry in SEG-Y headers: `python examples/observed.py shots.sgy`.

The model has a gradient, a layer that dips, and a slow lens at (z, x) = (250, 1300) m. The shots are simulated on finer
cells and in another order than those of an inversion. The guide of inversions makes a model of them in one command.
"""

import sys
from typing import Any

import jax
import numpy as np
import segyio
from segyio import TraceField as Word

from data_gen import Grid, Simulation, TimeAxis, make_survey, ricker, simulate

grid, time = Grid((91, 261), spacing=10.0), TimeAxis(nt=376, dt=4e-3)
z, x = np.meshgrid(np.arange(91) * 10.0, np.arange(261) * 10.0, indexing="ij")
velocity = 1600.0 + 1.2 * z + 500.0 * (z > 420 + 0.08 * x)
velocity -= 300.0 * np.exp(-(((x - 1300) / 250) ** 2) - ((z - 250) / 90) ** 2)  # a slow lens
sources = [[10.0, float(x)] for x in range(100, 2600, 200)]
receivers = [[10.0, float(x)] for x in range(50, 2600, 50)]
simulation = Simulation(grid, time, max_velocity=3300.0, peak_frequency=5.0, order=12)
gathers = jax.jit(simulate, static_argnums=2)(velocity, make_survey(sources, receivers, ricker(time, 5.0)), simulation)

spec: Any = segyio.spec()
spec.format, spec.samples, spec.tracecount = 5, 1e3 * time.times, len(sources) * len(receivers)
with segyio.create(sys.argv[1], spec) as file:
    file.bin[segyio.BinField.Interval] = round(1e6 * time.dt)
    for shot, (depth, east) in enumerate(sources):
        for channel, (_, there) in enumerate(receivers):
            trace = shot * len(receivers) + channel
            file.trace[trace] = np.asarray(gathers.gathers[shot, :, channel])
            file.header[trace] = {
                Word.FieldRecord: 1001 + shot,
                Word.TraceNumber: 1 + channel,
                Word.SourceX: round(east),
                Word.GroupX: round(there),
                Word.SourceDepth: round(depth),
                Word.ReceiverGroupElevation: -10,  # below the sea
                Word.TRACE_SAMPLE_INTERVAL: round(1e6 * time.dt),
            }
