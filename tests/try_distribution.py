"""Build wheel and sdist in `dist`, and try the wheel in new environments: `make dist`.

For every Python that is found of PYTHONS, an environment gets the wheel with all it depends on, and then, in an empty
folder, the commands of COMMANDS run: once as it is, and once where no C++ compiler can be found.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.11", "python3.12", "python3.13")
# Small, but the whole path: data, a training, an evaluation, a pretrained surrogate, an inversion.
COMMANDS = (
    ("generate", "data=tiny", "data.path=set"),
    ("train", "experiment=tiny", "data.path=set", "run=run", "training.steps=2", "training.validate_every=2"),
    ("evaluate", "run=run", "speedup_samples=0", "gradient_samples=0", "inversion_samples=0"),
    ("unpack", "wavefield-small", "small", "--samples", "1"),
    ("invert", "data=tiny", "inversion.iterations=2", "inversion.shots=2", "out=fwi"),
)


def run(*command: str | Path, cwd: Path, path: str | None = None) -> str:
    """Run a command without this process's Python paths; end with what it printed if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XLA_", "CXX"))}
    environment |= {"XDG_CACHE_HOME": str(cwd / "cache")} | ({"PATH": path} if path else {})
    found = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{found.stdout}{found.stderr}")
    return found.stdout


def build(out: Path, work: Path) -> tuple[Path, Path]:
    """Build wheel and sdist from the tracked files; a wheel of the sdist must hold the same files."""
    source = work / "source"
    source.mkdir()
    archive = work / "source.tar"
    run("git", "archive", "--output", archive, "HEAD", cwd=ROOT)
    with tarfile.open(archive) as file:
        file.extractall(source, filter="data")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    code = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    run(sys.executable, "-c", code, out, cwd=source)
    (sdist,) = out.glob("*.tar.gz")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    contents = []
    for place, origin in ((out, source), (work / "again", sdist)):
        run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", place, origin, cwd=work)
        (wheel,) = place.glob("*.whl")
        contents.append(sorted(zipfile.ZipFile(wheel).namelist()))
    if contents[0] != contents[1]:
        sys.exit(f"The sdist lacks files of the wheel: {sorted(set(contents[0]) ^ set(contents[1]))}")
    return next(out.glob("*.whl")), sdist


def without_compiler(work: Path, programs: Path) -> str:
    """Make a PATH on which there are basic tools and no compiler."""
    tools = work / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "bash", "env", "uname", "cat", "ls", "rm", "mkdir", "git", "nproc"):
        if (found := shutil.which(name)) and not (tools / name).exists():
            (tools / name).symlink_to(found)
    return f"{programs}{os.pathsep}{tools}"


def try_wheel(python: str, wheel: Path, work: Path) -> None:
    """Install the wheel for one Python and run the commands, with and without a compiler."""
    begin = time.perf_counter()
    run(python, "-m", "venv", work / "venv", cwd=work)
    programs = work / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=work)
    print(f"{python}: installed in {time.perf_counter() - begin:.0f} s", flush=True)
    for name, path in (("with a compiler", None), ("without a compiler", without_compiler(work, programs))):
        folder = work / name.replace(" ", "_")
        folder.mkdir()
        begin = time.perf_counter()
        for command in COMMANDS:
            run(programs / "wave", *command, cwd=folder, path=path)
        if not (folder / "run" / "report.html").exists() or not (folder / "fwi" / "report.html").exists():
            sys.exit(f"{python}, {name}: there is no report.html.")
        print(f"{python}, {name}: {len(COMMANDS)} commands in {time.perf_counter() - begin:.0f} s", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = build(ROOT / "dist", Path(folder))
        print(*(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB" for file in (wheel, sdist)), sep="\n", flush=True)
        pythons = [python for python in (sys.argv[1:] or PYTHONS) if shutil.which(python)]
        for python in pythons:
            work = Path(folder) / Path(python).name
            work.mkdir()
            try_wheel(python, wheel, work)
    print(f"Tried with {', '.join(pythons)}.")
    if missing := [python for python in PYTHONS if not shutil.which(python)]:
        print(f"Not found here, and not tried: {', '.join(missing)}.")


if __name__ == "__main__":
    main()
