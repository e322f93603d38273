"""Runs the application: an address, signals, and an orderly end.

On SIGTERM the socket is closed, what is in flight is answered, the log is written, and the process ends with 0. uvicorn
itself would end it by the signal, which looks like a crash to what watches it.
"""

import errno
import signal
import socket
from collections.abc import Callable
from types import FrameType

from anomalybench.core.errors import UsageError, shortened
from anomalybench.service.app import create_app
from anomalybench.service.engine import Engine
from anomalybench.service.web import uvicorn

_BACKLOG = 2048
_GRACE_S = 5
"""Beyond the time limit of a request, for what is in flight at the end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Args:
        host: Name or address of this machine.
        port: 0 for any that is free.

    Raises:
        UsageError: The address is in use, not allowed or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError, OverflowError):
        raise UsageError(f"--host {shortened(host)}: no such address; 127.0.0.1 is this machine alone.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use. Name another one: --port {_another(port)}.") from None
        raise UsageError(f"{host}, port {port}: cannot listen there ({error.strerror}).") from None
    return listener


def run(engine: Engine, listener: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or Ctrl+C.

    Args:
        engine: Started; it is stopped in the end.
        listener: From `listen`.
        started: Called once requests are answered.
    """
    config = uvicorn.Config(
        create_app(engine),
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=int(2 * engine.settings.timeout_s) + _GRACE_S,
        lifespan="on",
        ws="none",
    )
    server = _Server(config, started)

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)  # uvicorn raises the signal again in the end; then nothing is left to do
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._tell()


def _another(port: int) -> int:
    return port + 1 if port < 65535 else port - 1
