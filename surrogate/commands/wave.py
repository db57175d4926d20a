"""Run every command of the project by one name: `wave COMMAND ...`.

A command's module is imported when it is chosen, so that `wave --help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from data_gen import __version__
from data_gen.common.errors import DEBUG, one_paragraph, run_command

MANAGE = "data_gen.commands.manage"
# Module whose `main` is the command, and what the command does.
COMMANDS = {
    "generate": ("data_gen.commands.generate", "generate a data set, or what is missing of one"),
    "verify": (MANAGE, "check every record of a data set"),
    "describe": (MANAGE, "print what a data set is"),
    "truth": (MANAGE, "measure the error of a data set's records against the wave equation"),
    "rebuild": (MANAGE, "make one sample again from the manifest alone and compare"),
    "import": (MANAGE, "make a data set of velocity models and gathers in files"),
    "export": (MANAGE, "copy a data set to .npz, .zarr or .h5"),
    "diagnose": ("data_gen.commands.diagnose", "check the settings of a data set's simulation, with remedies"),
    "diagnose invert": ("surrogate.commands.diagnose_inversion", "find why an inversion's result is poor"),
    "train": ("surrogate.commands.train", "train a surrogate, or resume its training"),
    "evaluate": ("surrogate.commands.evaluate", "evaluate a trained run on held-out samples"),
    "invert": ("surrogate.commands.invert", "invert data for a velocity model"),
    "curves": ("surrogate.commands.curves", "compare the curves of trainings in the terminal and on a page"),
    "report": ("surrogate.commands.report", "write one page of all results below a folder"),
    "pack": ("surrogate.commands.pack", "pack an evaluated run into one small file"),
    "unpack": ("surrogate.commands.unpack", "make a run of a packed or a pretrained surrogate"),
    "play": ("surrogate.commands.play", "open a page that shows solver and surrogate next to each other"),
    "completion": ("surrogate.commands.completion", "print completions of commands and keys for bash and zsh"),
    "export-model": ("surrogate.commands.export", "export a trained run as one file"),
}
NO_COMMAND = 2  # exit status of a call that names no command


def usage() -> str:
    """List the commands.

    Returns:
        Text for a terminal.
    """
    lines = [f"  {name:<17}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "Simulate waves, generate data sets, train surrogates, and invert data for velocity models.",
            "",
            "usage: wave [--debug] COMMAND ...",
            "",
            "commands:",
            *lines,
            "",
            "`wave COMMAND --help` explains a command and every key of its config.",
            "--debug, or the environment variable WAVE_DEBUG=1, prints the traceback of an error, too.",
        ]
    )


@one_paragraph
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names. Exit with status 2 if there is no such command.

    Args:
        arguments: Arguments of the command line; None for those of this process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["--debug"]:
        os.environ[DEBUG] = "1"
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    if arguments[0] == "--version":
        print(f"wave-surrogate {__version__}")
        return
    words = 2 if " ".join(arguments[:2]) in COMMANDS else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 3)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        print(f"error: There is no command {name!r}.{meant} `wave --help` lists all commands.", file=sys.stderr)
        sys.exit(NO_COMMAND)
    module, _ = COMMANDS[name]
    sys.argv = ["wave", *arguments] if module == MANAGE else [f"wave {name}", *rest]
    run_command(module)


if __name__ == "__main__":
    main()
