"""The hook that keeps every test on the machine (tests/network.py, tests/conftest.py) sees what would leave it."""

import socket

import pytest

from tests.network import refused


@pytest.mark.parametrize(
    "call",
    [
        lambda stream, datagram: stream.connect(("192.0.2.1", 9)),
        lambda stream, datagram: stream.connect_ex(("192.0.2.1", 9)),
        lambda stream, datagram: stream.bind(("", 0)),  # every address of the machine
        lambda stream, datagram: datagram.sendto(b"", ("192.0.2.1", 9)),
        lambda stream, datagram: socket.getaddrinfo("wave.invalid", 80),
        lambda stream, datagram: socket.create_connection(("wave.invalid", 80)),
    ],
)
def test_other_machines_are_refused(call):
    """Addresses and names are those reserved for documents."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with pytest.raises(PermissionError, match="stay on the machine"):
            call(stream, datagram)
        assert len(refused) == 1
        refused.clear()
        stream.bind(("127.0.0.1", 0))
        socket.getaddrinfo("localhost", 80)
    assert not refused
