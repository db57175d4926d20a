"""Look after a data set: `wave verify PATH`, describe, truth, rebuild, import, export."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import make_console, stages
from data_gen.common.errors import InputError, one_paragraph
from data_gen.dataset.description import describe
from data_gen.dataset.exporting import export
from data_gen.dataset.imported_survey import ImportedSurvey
from data_gen.dataset.importing import import_files
from data_gen.dataset.manifest import read_manifest
from data_gen.dataset.sample import SPLITS
from data_gen.dataset.segy_shots import SHOT_WORDS
from data_gen.dataset.truth import TRUTH, error_in_words, measure_truth
from data_gen.dataset.verification import rebuild, verify

GENERATE = """\
`wave generate` makes data sets, and so does `python -m data_gen` without a command:

  wave generate data=demo data.path=data/mine data.train=2000     in this process
  wave generate data=demo executor=ray                            by Ray; executor=slurm: by a Slurm array
  wave generate data=demo --cfg job                               show the config, generate nothing
  wave generate --help                                            explain every key of the config

After an interruption of any kind the same command makes what is missing."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wave",
        description="Look after data sets of velocity models and the waves through them.",
        epilog=GENERATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, summary: str, run, detail: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=f"{summary}. {detail}")
        added.set_defaults(run=run)
        return added

    checked = command("verify", "check every record of a data set", _verify, "Checksums, finite and physical values.")
    card = command("describe", "print what a data set is", _describe, "Config, units, sizes, versions, checksum.")
    truth = command(
        "truth",
        "measure the error of a data set's records against the wave equation",
        _truth,
        "Compares the first test samples with a converged simulation of their models.",
    )
    truth.add_argument("--samples", type=int, default=None, metavar="N", help="test samples (as the manifest; 2)")
    remade = command("rebuild", "make one sample again from the manifest alone and compare", _rebuild)
    remade.add_argument("--sample", type=int, required=True, metavar="N", help="its index in the split, from 0")
    remade.add_argument("--split", choices=SPLITS, default="train")
    exported = command("export", "copy a data set to .npz, .zarr or .h5", _export)
    exported.add_argument("--to", type=Path, required=True, metavar="FILE", help="out.npz, out.zarr or out.h5")
    for added in (checked, card, truth, remade, exported):
        added.add_argument("path", type=Path, metavar="PATH", help="folder of the data set")
    imported = command(
        "import",
        "make a data set of velocity models and gathers in files",
        _import,
        "Reads OpenFWI's folders (model*.npy with data*.npy, vel* with seis*), and .npz and SEG-Y files of models and "
        "gathers that are named alike. No file is unpickled.",
    )
    imported.add_argument("source", type=Path, metavar="SOURCE", help="a folder of such files, or one file of models")
    imported.add_argument("--to", type=Path, required=True, metavar="PATH", help="folder of the data set to make")
    imported.add_argument("--spacing", type=float, metavar="M", help="of the models' cells [m], if no file says")
    imported.add_argument("--dt", type=float, metavar="S", help="of the gathers' samples [s], if no file says")
    imported.add_argument("--validation", type=int, default=0, metavar="N", help="samples of that split (0)")
    imported.add_argument("--test", type=int, default=0, metavar="N", help="samples of that split (0)")
    drawn = imported.add_mutually_exclusive_group()
    drawn.add_argument(
        "--split-seed", type=int, default=0, metavar="N", help="of the draw of both splits across all files (0)"
    )
    drawn.add_argument(
        "--in-order",
        action="store_const",
        const=None,
        dest="split_seed",
        help="make the last samples in the order of the files the validation and test splits",
    )
    imported.add_argument(
        "--shot-word", choices=SHOT_WORDS, help="word of SEG-Y trace headers that tells shots apart, if several differ"
    )
    survey = imported.add_argument_group(
        "survey", "what training with task=gather needs (sources, receivers), and its encodings and figures use"
    )
    for name in ("sources", "receivers"):
        survey.add_argument(
            f"--{name}", metavar="Z|FILE", help="depth of a line over the surface [m], or .npy or .txt of (z, x) [m]"
        )
    survey.add_argument("--peak-frequency", type=float, metavar="HZ", help="of a Ricker wavelet")
    survey.add_argument(
        "--peak-time", type=float, metavar="S", help="of its peak after the source starts [s] (1.2 / HZ)"
    )
    survey.add_argument("--amplitude", type=float, default=1.0, metavar="A", help="of its peak (1)")
    survey.add_argument("--wavelet", type=Path, metavar="FILE", help="another wavelet: .npy, .npz or .txt")
    survey.add_argument("--delay", type=float, metavar="S", help="of the first sample after the source starts [s]")
    survey.add_argument("--free-surface", action="store_true", help="the pressure is zero on top of the models")
    imported.add_argument("--shard-size", type=int, default=64, metavar="N", help="samples in one file (64)")
    return parser


def is_command(arguments: Sequence[str]) -> bool:
    """Tell whether arguments are for this module, not for Hydra.

    Args:
        arguments: Arguments of `python -m data_gen`.

    Returns:
        True if the first one names a command of this module or asks for help.
    """
    return bool(arguments) and (arguments[0] in COMMANDS or arguments[0] in ("-h", "--help"))


@one_paragraph
def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        arguments: Arguments of the command line; None for those of this process.
    """
    options = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    options.run(options)


def _verify(options: argparse.Namespace) -> None:
    with stages(f"verify {options.path}") as show:
        manifest = verify(options.path, contents=True, on_shard=lambda done, of: show(f"{done} of {of} shards"))
    samples = sum(manifest["splits"].values())
    print(f"{options.path}: {samples} samples in {len(manifest['shards'])} shards are what was written, finite and")
    print("physical, and no velocity model is in two splits.")


def _describe(options: argparse.Namespace) -> None:
    describe(options.path, make_console())


def _truth(options: argparse.Namespace) -> None:
    use_compilation_cache()
    manifest = read_manifest(options.path)
    stated = manifest.get(TRUTH)
    samples = options.samples if options.samples is not None else stated["samples"] if stated else 2
    if not 1 <= samples <= manifest["splits"].get("test", 0):
        raise InputError(f"--samples must be within 1 .. {manifest['splits'].get('test', 0)}, but is {samples}.")
    with stages(f"truth {options.path}") as show:
        show(f"compiling, {samples} samples")
        found = measure_truth(options.path, manifest, samples)
    print(error_in_words(found))
    if stated == found:
        print("The manifest states the same.")
    elif stated:
        print(f"The manifest states: {error_in_words(stated)}")


def _rebuild(options: argparse.Namespace) -> None:
    use_compilation_cache()
    with stages(f"rebuild {options.path}") as show:
        show(f"compiling, sample {options.sample} of {options.split}")
        changes, versions = rebuild(options.path, options.split, options.sample)
    what = f"Sample {options.sample} of {options.split} in {options.path}"
    if not any(changes.values()):
        print(f"{what}, made again from the manifest alone, is identical to the stored one, bit for bit.")
        return
    name = max(changes, key=lambda name: changes[name])
    made_with = f"The versions that made it differ too ({versions})." if versions else "The versions agree."
    raise InputError(
        f"{what}, made again from the manifest alone, differs from the stored one: by up to {changes[name]:.3g} of the "
        f"largest value, in `{name}`. {made_with} Rounding differs between processors and versions by about 1e-6; run "
        "`verify` if it is more."
    )


def _import(options: argparse.Namespace) -> None:
    with stages(f"import {options.source}"):
        manifest = import_files(
            options.source,
            options.to,
            spacing=options.spacing,
            dt=options.dt,
            validation=options.validation,
            test=options.test,
            split_seed=options.split_seed,
            shot_word=options.shot_word,
            shard_size=options.shard_size,
            survey=ImportedSurvey(**{field.name: getattr(options, field.name) for field in fields(ImportedSurvey)}),
        )
    print(f"{options.to}: {sum(manifest['splits'].values())} samples, fingerprint {manifest['fingerprint']}")


def _export(options: argparse.Namespace) -> None:
    with stages(f"export {options.path}"):
        samples = export(options.path, options.to)
    print(f"{options.to}: {samples} samples of {options.path}")


COMMANDS = ("verify", "describe", "truth", "rebuild", "import", "export")
