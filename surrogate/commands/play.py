"""Open the playground: a page on this machine that shows solver, coarse solver and surrogate next to each other.

  wave play                         the pretrained wavefield-small
  wave play runs/mine               a run of yours, of task=wavefield or task=gather
  wave play mine.npz --port 6000

Draw, load or paint a velocity model, drag the source, and invert. The page is served to this machine alone (127.0.0.1);
from another one, forward the port: `ssh -L 5006:127.0.0.1:5006 HOST`. Ctrl-C ends it. Needs the extra `play`.
"""

import argparse
import webbrowser

from data_gen.common.compile_cache import use_compilation_cache
from data_gen.common.console import stages
from data_gen.common.errors import InputError, one_paragraph
from surrogate.runs.load import load_surrogate

DEFAULT, PORT = "wavefield-small", 5006


@one_paragraph
def main() -> None:
    """Serve the page until the user ends it."""
    parser = argparse.ArgumentParser(
        prog="wave play", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", default=DEFAULT, metavar="RUN", help="a run, a packed file or a name")
    parser.add_argument("--port", type=int, default=PORT, help=f"port of the page ({PORT})")
    parser.add_argument("--show", action="store_true", help="open the page in the browser")
    options = parser.parse_args()
    if not 1 <= options.port < 2**16:
        raise InputError(f"A port is a number from 1 to 65535, but got {options.port}.")
    try:
        from surrogate.play.server import make_server
    except ImportError as error:
        raise InputError(
            f"The playground needs Bokeh, which is not installed ({error}). Install it with `pip install "
            "'wave-surrogate[play]'`, or `pip install '.[play]'` in a checkout."
        ) from error
    use_compilation_cache()
    model = load_surrogate(options.run)
    with stages("the playground") as on_progress:
        on_progress("compiling")
        server = make_server(model, options.port)
    address = f"http://127.0.0.1:{options.port}/"
    print(f"The playground of {options.run} is at {address}. Ctrl-C ends it.", flush=True)
    if options.show:
        webbrowser.open(address)
    server.start()
    try:
        server.io_loop.start()
    finally:
        server.stop()
