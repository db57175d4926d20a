"""The compiled time loop on machines of all kinds: other processors, and compilers that are old, odd, or fail."""

import shutil
import subprocess

import jax
import pytest

from data_gen.common.errors import InputError
from data_gen.solver.engines import choose
from data_gen.solver.engines.native import library
from data_gen.solver.problem.grid import Grid, TimeAxis
from data_gen.solver.problem.simulation import Simulation

GNU = "g++ (GCC) 13.1.0\nCopyright (C) Free Software Foundation"
ANSWER = f'if [ "$1" = "--version" ]; then echo "{GNU}"; exit 0; fi\n'
WRITE = 'for last; do :; done; echo made >> "$(dirname "$0")/log"; echo junk > "$last"\n'
# Faults of a compiler: its script, and part of the error.
FAULTS = {
    "refuses a flag": (ANSWER + "echo \"unrecognized option '-march'\" >&2; exit 1\n", "unrecognized option"),
    "fails when asked for its version": ("exit 3\n", "said: status 3"),
    "makes what cannot be loaded": (ANSWER + WRITE, "cannot be stored or loaded"),
    "is old": (ANSWER.replace("13.1.0", "10.2.1"), "GCC 11 or Clang 14 at least, but .* is GCC 10"),
}
SIMULATION = Simulation(Grid((16, 16), 10.0), TimeAxis(8, 1e-3), 3000.0, 15.0)


@pytest.fixture
def compile_with(tmp_path, monkeypatch):
    """Make a shell script the only compiler of a machine without compiled libraries; returns the script's path."""
    for function in ("compiler", "_version", "load"):
        monkeypatch.setattr(library, function, getattr(library, function).__wrapped__)
    monkeypatch.setattr(choose.native, "fault", library.fault.__wrapped__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def use(script: str):
        path = tmp_path / "g++"
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return path

    return use


@pytest.mark.parametrize("name", FAULTS)
def test_a_compiler_that_fails_is_one_warning_and_xla(name, compile_with):
    script, text = FAULTS[name]
    compile_with(script)
    with pytest.warns(UserWarning, match=text) as caught:
        assert [choose.choose_engine(SIMULATION, constant_density=True) for _ in range(2)] == [None, None]
    assert len(caught) == 1


def test_a_compiler_that_is_not_found_is_named(compile_with, monkeypatch):
    """Another compiler in its place would hide the misspelling."""
    compile_with("")
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    with pytest.warns(UserWarning, match="no-such-compiler cannot be started"):
        assert choose.choose_engine(SIMULATION, constant_density=True) is None


@pytest.mark.parametrize("name", FAULTS)
def test_a_compiler_that_fails_is_an_error_of_the_native_backend(name, compile_with):
    script, text = FAULTS[name]
    compile_with(script)
    simulation = Simulation(Grid((16, 16), 10.0), TimeAxis(8, 1e-3), 3000.0, 15.0, backend="native")
    with pytest.raises(InputError, match=text) as caught:
        choose.choose_engine(simulation, constant_density=True)
    assert "backend='xla'" in str(caught.value) and "\n" not in str(caught.value)


def test_a_compiler_may_have_arguments(compile_with, monkeypatch):
    """As in CXX="ccache g++"."""
    script = compile_with(ANSWER + WRITE)
    monkeypatch.setenv("CXX", f"env -u LANG {script}")
    assert library.compiler() == (shutil.which("env"), "-u", "LANG", str(script))
    assert library._compile("forward", 1, "float32", 4).read_text() == "junk\n"


def test_damaged_libraries_and_those_of_others_are_made_again(compile_with):
    """A library is loaded only if its bytes are those in its name and nobody else may write to it."""
    log = compile_with(ANSWER + WRITE).parent / "log"

    def made() -> int:
        return len(log.read_text().split())

    path = library._compile("forward", 1, "float32", 4)
    assert path.stat().st_mode & 0o777 == 0o700
    assert library._compile("forward", 1, "float32", 4) == path and made() == 1
    path.write_text("jun")
    assert library._compile("forward", 1, "float32", 4).read_text() == "junk\n" and made() == 2
    path.chmod(0o666)
    assert library._compile("forward", 1, "float32", 4).stat().st_mode & 0o777 == 0o700 and made() == 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_flags_of_x86_are_for_x86():
    assert "-mprefer-vector-width=512" in library.compiler_flags(GNU, "x86_64")
    assert library.compiler_flags(GNU, "aarch64")[0] == "-mcpu=native"
    assert not any(flag.startswith("-m") for flag in library.compiler_flags(GNU, "riscv64"))


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-g++"), reason="needs g++-aarch64-linux-gnu")
@pytest.mark.parametrize("direction", ["forward", "adjoint"])
def test_it_compiles_for_arm(direction):
    """The whole kernel through ARM's compiler, without its code: a cross compiler knows no native processor."""
    flags = [flag for flag in library.compiler_flags(GNU, "aarch64") if flag != "-mcpu=native"]
    defines = ["-DREAL=float", "-DHALF=2", f"-DDIRECTION={direction}", "-DCOMPONENTS=2"]
    source = [f"-I{jax.ffi.include_dir()}", str(library.SOURCES / "kernel.cc")]
    command = ["aarch64-linux-gnu-g++", "-fsyntax-only", *flags, *defines, *source]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
