"""Refuse, in every test process, what would leave the machine.

An audit hook sees the sockets of Python, not those of C++ or of other processes: tests of Ray, of `jax.distributed` and
of W&B's service look at the listeners in /proc, or listen in the place of a server.
"""

import socket
import sys
from ipaddress import ip_address

ADDRESSED = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")  # of a socket, to an address
NAMED = ("socket.getaddrinfo", "socket.gethostbyname")  # looking up a name leaves the machine, too
refused: list[str] = []  # since the end of the test before


def _is_here(host: object) -> bool:
    try:
        return host == "localhost" or ip_address(str(host)).is_loopback
    except ValueError:  # a name, which has to be looked up
        return False


def _refuse(event: str, arguments: tuple) -> None:
    if event in NAMED:
        host = arguments[0]
        inside = host in (None, "", socket.gethostname()) or _is_here(host)
    elif event in ADDRESSED:
        sender, address = arguments[0], arguments[-1]
        host = address[0] if sender.family in (socket.AF_INET, socket.AF_INET6) and address else None
        inside = host is None or _is_here(host)  # None: within the kernel, or connected earlier
    else:
        return
    if not inside:
        refused.append(f"{event} {host}")
        raise PermissionError(f"{event} {host}: tests stay on the machine.")


def refuse_other_machines() -> None:
    """Refuse from now on, for good: Python cannot remove an audit hook."""
    sys.addaudithook(_refuse)
