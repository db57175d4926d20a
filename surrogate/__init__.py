# ruff: noqa: I001
"""Train neural operators on simulated waves, predict with them, and invert data through them or through the solver.

    from surrogate import TrainConfig, fit
    from surrogate import load_surrogate, predict
    from surrogate import InversionConfig, PhysicsForward, SurrogateForward, invert

A name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from data_gen import __version__ as __version__
from data_gen.common.lazy import lazy_exports

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from surrogate.config import (
        EvaluateConfig as EvaluateConfig,
        InvertConfig as InvertConfig,
        RealModelConfig as RealModelConfig,
        TrainConfig as TrainConfig,
    )
    from surrogate.encodings.registry import ENCODINGS as ENCODINGS
    from surrogate.encodings.schemas import (
        BackgroundConfig as BackgroundConfig,
        CoarseConfig as CoarseConfig,
        LogConfig as LogConfig,
        NoneConfig as NoneConfig,
        SourceMapConfig as SourceMapConfig,
    )
    from surrogate.inversion.config import (
        InversionConfig as InversionConfig,
        MuteConfig as MuteConfig,
        StageConfig as StageConfig,
    )
    from surrogate.inversion.descent import invert as invert
    from surrogate.inversion.forward import (
        ForwardModel as ForwardModel,
        PhysicsForward as PhysicsForward,
        SurrogateForward as SurrogateForward,
        spread_sources as spread_sources,
    )
    from surrogate.inversion.misfits.registry import MISFITS as MISFITS
    from surrogate.inversion.observed.reading import read_observed as read_observed
    from surrogate.inversion.observed.setup import SetupConfig as SetupConfig, setup_inversion as setup_inversion
    from surrogate.inversion.observed.wavelet import choose_wavelet as choose_wavelet
    from surrogate.models.surrogate import Surrogate as Surrogate
    from surrogate.operators.fno import FNOConfig as FNOConfig
    from surrogate.operators.registry import OPERATORS as OPERATORS
    from surrogate.report.page import write_report as write_report
    from surrogate.runs.evaluate import evaluate as evaluate
    from surrogate.runs.export import ExportConfig as ExportConfig, write_export as write_export
    from surrogate.runs.fit import fit as fit
    from surrogate.runs.invert import run_inversion as run_inversion
    from surrogate.runs.load import load_surrogate as load_surrogate
    from surrogate.runs.packed import load_card as load_card
    from surrogate.runs.packing import pack as pack, unpack as unpack
    from surrogate.runs.predict import predict as predict
    from surrogate.tasks.gather import GatherConfig as GatherConfig
    from surrogate.tasks.harmonic import HarmonicConfig as HarmonicConfig
    from surrogate.tasks.inverse import InverseConfig as InverseConfig
    from surrogate.tasks.propagator import PropagatorConfig as PropagatorConfig
    from surrogate.tasks.registry import TASKS as TASKS
    from surrogate.tasks.wavefield import WavefieldConfig as WavefieldConfig
    from surrogate.training.config import TrainingConfig as TrainingConfig

_HOMES = {
    "BackgroundConfig": "surrogate.encodings.schemas",
    "choose_wavelet": "surrogate.inversion.observed.wavelet",
    "CoarseConfig": "surrogate.encodings.schemas",
    "ENCODINGS": "surrogate.encodings.registry",
    "evaluate": "surrogate.runs.evaluate",
    "EvaluateConfig": "surrogate.config",
    "ExportConfig": "surrogate.runs.export",
    "fit": "surrogate.runs.fit",
    "FNOConfig": "surrogate.operators.fno",
    "ForwardModel": "surrogate.inversion.forward",
    "GatherConfig": "surrogate.tasks.gather",
    "HarmonicConfig": "surrogate.tasks.harmonic",
    "InverseConfig": "surrogate.tasks.inverse",
    "InversionConfig": "surrogate.inversion.config",
    "invert": "surrogate.inversion.descent",
    "InvertConfig": "surrogate.config",
    "load_card": "surrogate.runs.packed",
    "load_surrogate": "surrogate.runs.load",
    "LogConfig": "surrogate.encodings.schemas",
    "MISFITS": "surrogate.inversion.misfits.registry",
    "MuteConfig": "surrogate.inversion.config",
    "NoneConfig": "surrogate.encodings.schemas",
    "OPERATORS": "surrogate.operators.registry",
    "pack": "surrogate.runs.packing",
    "PhysicsForward": "surrogate.inversion.forward",
    "predict": "surrogate.runs.predict",
    "PropagatorConfig": "surrogate.tasks.propagator",
    "RealModelConfig": "surrogate.config",
    "read_observed": "surrogate.inversion.observed.reading",
    "run_inversion": "surrogate.runs.invert",
    "setup_inversion": "surrogate.inversion.observed.setup",
    "SetupConfig": "surrogate.inversion.observed.setup",
    "SourceMapConfig": "surrogate.encodings.schemas",
    "StageConfig": "surrogate.inversion.config",
    "spread_sources": "surrogate.inversion.forward",
    "Surrogate": "surrogate.models.surrogate",
    "SurrogateForward": "surrogate.inversion.forward",
    "TASKS": "surrogate.tasks.registry",
    "TrainConfig": "surrogate.config",
    "TrainingConfig": "surrogate.training.config",
    "unpack": "surrogate.runs.packing",
    "WavefieldConfig": "surrogate.tasks.wavefield",
    "write_export": "surrogate.runs.export",
    "write_report": "surrogate.report.page",
}

__all__, __getattr__, __dir__ = lazy_exports(__name__, _HOMES)
