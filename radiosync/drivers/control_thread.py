"""Runs the control interface beside the host's loop.

The web framework takes 0.3 s to import, so that happens in the thread, while the music starts.
"""

import socket
import threading

from radiosync.drivers.controls import Controls
from radiosync.errors import NetworkError

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


class ControlThread:
    """Serves the control interface from a thread of its own.

    Raises NetworkError where the address is taken or is not ours.
    """

    def __init__(self, controls: Controls, address: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address, port))
            self._socket.listen()  # who asks before the framework is ready waits for it
        except OSError as error:
            self._socket.close()
            raise NetworkError(
                f"control address {address}, TCP port {port}: {error.strerror}; set host.control to another address"
            ) from None
        self._controls = controls
        self._hosts = ["*"] if address == EVERYWHERE else [LOOPBACK, "localhost", address]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self._thread.join(3)
        self._socket.close()

    def _run(self) -> None:
        from radiosync.drivers.control_server import serve  # noqa: PLC0415  # see above

        serve(self._controls, self._socket, self._hosts, self._stop)
