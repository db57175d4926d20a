"""Report bad input in one paragraph: what was expected, what came, what to do."""

import functools
import io
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from data_gen.common.interruption import Interrupted, ended_at_once

DEBUG = "WAVE_DEBUG"  # environment variable: tracebacks of errors are printed, too
NOBODY_READS = 128 + signal.SIGPIPE  # exit status
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # XLA's errors have this status, and no type of their own


class InputError(ValueError):
    """Refuse something that the user gave, before anything is compiled or written."""

    def __str__(self) -> str:
        """Join the lines: those of another library's error that stands in the message."""
        return " ".join(line.strip() for line in super().__str__().splitlines())


class DatasetError(InputError):
    """Refuse a data set that cannot be used as it is; the message says which file and what to do."""


class NumericalError(FloatingPointError):
    """Report a computation that is no longer finite; the message says where, and what was kept."""


def _one_line(message: Warning | str, category: type[Warning], *_: object) -> str:
    """Format a warning for users: what it says, and no line of code."""
    kind = "" if issubclass(category, UserWarning) else f"{category.__name__}: "
    return f"warning: {kind}{message}\n"


def _show_traceback() -> None:
    """Print the traceback of the error that is handled, if the user wants it."""
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        traceback.print_exc()


def _reader_has_gone() -> bool:
    """Tell whether whoever read the output has closed it, as `head` does; nothing more is written to it then."""
    if sys.stdout is None:  # the shell has closed it
        return False
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python itself flushes once more at its end
        return True
    return False


def _output_is_broken() -> bool:
    """Tell whether the output is a pipe without a reader, also where Python keeps nothing back that it could flush."""
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def one_paragraph(main: Callable[..., Any]) -> Callable[..., Any]:
    """Make an entry point end with the message of an error of this module and exit status 1, without a traceback.

    It prints under any locale: a sign that the encoding of the console lacks is printed as its escape. Warnings are
    printed without the line of code that gave them.

    Args:
        main: Entry point.

    Returns:
        The same entry point, which ends the process on an error of this module, of a file, or of too little memory, and
        on Ctrl-C, SIGTERM and SIGHUP, with one line and the exit status 128 + signal; without a line where nobody reads
        its output any more. With the environment variable WAVE_DEBUG the traceback of an error comes before its line.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        formatted, warnings.formatwarning = warnings.formatwarning, _one_line
        try:
            with ended_at_once():
                result = main(*args, **kwargs)
            if _reader_has_gone():
                sys.exit(NOBODY_READS)
            return result
        except BrokenPipeError:
            if not (_reader_has_gone() or _output_is_broken()):
                raise
            sys.exit(NOBODY_READS)
        except SystemExit as end:
            if end.code in (None, 0) and _reader_has_gone():
                sys.exit(NOBODY_READS)
            raise
        except Interrupted as stop:
            print(stop, file=sys.stderr)
            sys.exit(stop.status)
        except (InputError, NumericalError) as error:
            _show_traceback()
            sys.exit(f"error: {error}")
        except OSError as error:
            if error.filename is None:
                raise
            _show_traceback()
            sys.exit(f"error: {error.filename}: {error.strerror}. Give another path, or change that file or folder.")
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and OUT_OF_MEMORY not in str(error):
                raise
            _show_traceback()
            reason = next(iter(str(error).splitlines()), "")
            sys.exit(
                f"error: There is not enough memory ({reason}). Use a smaller grid or smaller batches, or another "
                "device."
            )
        finally:
            warnings.formatwarning = formatted

    return wrapped


@one_paragraph
def run_command(module: str, function: str = "main") -> Any:
    """Import the module of a command, and run the command: its import takes seconds, in which Ctrl-C is one line, too.

    Args:
        module: Name of the module.
        function: Name of the entry point in it.

    Returns:
        What the command returns.
    """
    return getattr(import_module(module), function)()
