"""Loads PortAudio and finds the sound device in a thread, while the rest of the program is still being loaded.

Most of that is waiting (for the dynamic linker, for sound servers), so that it costs no time beside the imports.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from radiosync.drivers.background import Background
from radiosync.drivers.priority import raise_priority

if TYPE_CHECKING:
    from radiosync.drivers.portaudio import Device


class FoundOutput(NamedTuple):
    """PortAudio's module, and the device to play on."""

    portaudio: Any
    device: "Device"


def find_output(wanted: str) -> FoundOutput:
    """Return the sound device with this number or name, or with "" the default one.

    Raises DeviceError where there is none.
    """
    from radiosync.drivers.portaudio import find_device, load_portaudio  # noqa: PLC0415  # in the search's thread

    portaudio = load_portaudio()
    return FoundOutput(portaudio, find_device(portaudio, wanted))


class OutputSearch:
    """A search that has been begun; this thread and its later ones have a raised priority from then on."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.scheduling = raise_priority()  # before PortAudio's threads are started, which inherit it
        self._search = Background(lambda: find_output(wanted))

    def result(self) -> FoundOutput:
        """Return what was found.

        Raises DeviceError where it is nothing.
        """
        return self._search.result()


def begin_search(output: str) -> OutputSearch | None:
    """Begin to look for the device that the configuration's `output` names, if that is one."""
    kind, _, wanted = output.partition(":")
    return OutputSearch(wanted) if kind == "device" else None
