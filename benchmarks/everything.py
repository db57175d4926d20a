"""Run all benchmarks on one idle machine, part by part: `make bench`, or `python -m benchmarks.everything`.

FOLDER keeps the data and progress of the parts that have some, and `done.json`: the seconds of each part that has
ended, and the revision that was measured. The same command after a kill goes on with the part under way and leaves out
what is done at this revision; `--again` leaves out nothing. `--list` says what there is, and how long it took.

Left out are `fidelities` and `operator_start`, which need trained runs, `gpu`, and `revisions`.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.worker import ROOT

SETUPS = ("overthrust", "marmousi_like", "openfwi_like", "transmission")
# Arguments of each part's module, of which `{folder}` becomes a folder of its own.
PARTS: dict[str, tuple[str, ...]] = {
    "solver": ("benchmarks.solver",),
    "training": ("benchmarks.training",),
    "accuracy": ("benchmarks.accuracy", "--peers", "deepwave", "devito"),
    "accuracy_law": ("benchmarks.accuracy_law", "--measure"),
    "coarse": ("benchmarks.coarse",),
    "near_field": ("benchmarks.near_field",),
    "line_source": ("benchmarks.line_source",),
    "misfit_basins": ("benchmarks.misfit_basins",),
    "generation": ("benchmarks.generation",),
    "reading": ("benchmarks.reading",),
    "operators": ("benchmarks.operators", "--work", "{folder}"),
    **{f"inversion_{setup}": ("benchmarks.inversion", setup, "--folder", "{folder}") for setup in SETUPS},
    "corrected": ("benchmarks.corrected", "--folder", "{folder}"),
    "families": ("benchmarks.families", "--folder", "{folder}"),
    "scaling": ("benchmarks.scaling", "--folder", "{folder}"),
    "fidelity": ("benchmarks.fidelity", "--folder", "{folder}"),
}


def revision() -> str:
    """The commit of the checkout, with a mark if files differ from it; empty where there is none."""

    def git(*arguments: str) -> str:
        found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
        return found.stdout.strip() if found.returncode == 0 else ""

    # What the benchmarks write is no change of what they measure.
    changed = git("status", "--porcelain", "--", "data_gen", "surrogate", "configs", "benchmarks/*.py")
    return git("rev-parse", "HEAD") + ("+" if changed else "")


def read_done(folder: Path) -> dict[str, Any]:
    """What has ended: seconds and revision of each part."""
    file = folder / "done.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def run_part(name: str, folder: Path) -> tuple[int, float]:
    """Run a part, whose output goes to `FOLDER/NAME.log`; its exit status and seconds."""
    arguments = [argument.format(folder=folder / name) for argument in PARTS[name]]
    begin = time.perf_counter()
    with (folder / f"{name}.log").open("a", encoding="utf-8") as log:
        ended = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    return ended.returncode, time.perf_counter() - begin


def minutes(done: dict[str, Any], name: str) -> str:
    """How long a part took, in words."""
    return f"{done[name]['seconds'] / 60:.0f} min last time" if name in done else "not measured here yet"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.everything",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bench", help="where progress is kept")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which; all by default")
    parser.add_argument("--again", action="store_true", help="run what is done at this revision, too")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    options = parser.parse_args()
    done, now, failed = read_done(options.folder), revision(), []
    if options.list:
        print(*(f"{name:25}{minutes(done, name)}" for name in options.parts), sep="\n")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.parts:
        if now and not options.again and done.get(name, {}).get("revision") == now:
            print(f"{name}: done at this revision", flush=True)
            continue
        print(f"{name}: begins ({minutes(done, name)}; output in {options.folder / f'{name}.log'})", flush=True)
        status, seconds = run_part(name, options.folder)
        if status:
            failed.append(name)
            print(f"{name}: failed with status {status} after {seconds:.0f} s", flush=True)
            continue
        done[name] = {"seconds": seconds, "revision": now}
        (options.folder / "done.json").write_text(json.dumps(done, indent=1), encoding="utf-8")
        print(f"{name}: {seconds / 60:.1f} min", flush=True)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}. The same command tries them again.")


if __name__ == "__main__":
    main()
