"""What a page needs to be served: viser, a port that is free, and quiet."""

from __future__ import annotations

import contextlib
import errno
import importlib
import socket
from collections.abc import Iterator
from typing import Any

from hybrid_ik.errors import HybridIKError, InvalidInputError

PORTS_TRIED = 100
REMEDY = "the web page needs viser: pip install 'hybrid-ik[viewer]'"


class ViewerUnavailableError(HybridIKError):
    """There is nothing to show a page with; the message says what to install."""


def import_viser() -> Any:
    """The module viser.

    Raises:
        ViewerUnavailableError: it is not installed.
    """
    try:
        return importlib.import_module("viser")
    except ImportError as error:
        raise ViewerUnavailableError(f"{REMEDY} ({error})") from error


def browser_address(host: str) -> str:
    """What a browser on this machine writes for a host."""
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def free_port(host: str, port: int) -> int:
    """The port, or the next one that nobody listens at; any that is free if it is 0.

    viser looks for one too, but without end, also where the host is not one of this machine.

    Raises:
        InvalidInputError: no port number, none that is free, or a host that cannot be listened at.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise InvalidInputError(f"port: expected a whole number from 0 (any free one) to 65535, got {port!r}")
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
                return int(probe.getsockname()[1])
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise InvalidInputError(f"host: cannot listen at {host!r}: {error}") from error
    raise InvalidInputError(f"port: none of {port} to {candidate} is free at {host!r}; choose another, or 0 for any")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without viser's banners, which it prints whether it is to be verbose or not."""
    import rich

    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before
