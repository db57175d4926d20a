"""Serve the playground to this machine alone."""

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server

from data_gen.common.errors import InputError
from surrogate.models.surrogate import Surrogate
from surrogate.play.page import Page
from surrogate.play.scene import LARGEST_FILE, Scene

HOST = "127.0.0.1"
# Bytes of the largest message over those of the largest file: one that is too large is then refused in words.
MESSAGES = 30


def make_server(model: Surrogate, port: int) -> Server:
    """Make the server of the playground, which waits for its start.

    Args:
        model: Trained surrogate of wavefields or gathers.
        port: Port of the page; 0 takes a free one.

    Returns:
        The server.

    Raises:
        InputError: If the surrogate cannot be shown, or the port is taken.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"A port is a number from 0 to 65535, but got {port}.")
    scene = Scene(model)
    application = Application(FunctionHandler(lambda document: _open(document, scene)))
    # Pages of other sites that a browser has open may not connect.
    origins = [f"{host}:{port}" for host in (HOST, "localhost")] if port else None
    try:
        return Server(
            {"/": application},
            address=HOST,
            port=port,
            allow_websocket_origin=origins,
            websocket_max_message_size=MESSAGES * LARGEST_FILE,
        )
    except OSError as error:
        raise InputError(
            f"Port {port} cannot be used ({error.strerror}). Give another one: --port {port + 1}."
        ) from error


def _open(document, scene: Scene) -> None:
    Page(document, scene)
