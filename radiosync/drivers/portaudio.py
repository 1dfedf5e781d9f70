"""PortAudio through sounddevice: loading it, choosing a device, opening a stream."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from radiosync.audio.format import AudioFormat
from radiosync.errors import DeviceError

_MISSING = "PortAudio is not installed: install it (Debian, Ubuntu: apt install libportaudio2), or {}"


class Direction(Enum):
    """What a device is used for; the value is PortAudio's word for it."""

    INPUT = "input"
    OUTPUT = "output"


_WITHOUT_PORTAUDIO = {
    Direction.INPUT: 'let a command capture: --source "exec:arecord -f cd -t wav", which works without it',
    Direction.OUTPUT: "play into a file with --output wav:PATH, which works without it",
}
_WITHOUT_DEVICE = {
    Direction.INPUT: "no sound device that can capture was found: plug one in or start a sound server",
    Direction.OUTPUT: "no sound device was found: plug one in, start a sound server, or use --output wav:PATH or null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device in one of its directions, and what it is or will be opened with."""

    direction: Direction
    index: int
    name: str
    host_api: str
    channels_max: int
    default_rate: int
    low_latency_s: float
    high_latency_s: float
    is_default: bool
    rate: int = 0
    channels: int = 0

    @property
    def key(self) -> str:
        """What the device is remembered by; its number changes with what else is plugged in."""
        return f"{self.host_api}: {self.name}"

    def opened_for(self, portaudio: Any, audio: AudioFormat) -> "Device":
        """Return the device with the stream's rate and channels where it can do them, else with its own."""
        check = getattr(portaudio, f"check_{self.direction.value}_settings")
        for channels in dict.fromkeys((min(audio.channels, self.channels_max), min(2, self.channels_max))):
            for rate in dict.fromkeys((audio.rate, self.default_rate)):
                try:
                    check(self.index, channels=channels, dtype="float32", samplerate=rate)
                except (portaudio.PortAudioError, ValueError):
                    continue
                return replace(self, rate=rate, channels=channels)
        raise DeviceError(
            f"sound device {self.name}: it takes neither {audio.rate} nor {self.default_rate} Hz; try another"
        )

    def suits(self, audio: AudioFormat) -> bool:
        """Say whether a device that is open already serves this format as well as a fresh one would."""
        return self.rate == audio.rate and self.channels == min(audio.channels, self.channels_max)


def load_portaudio(direction: Direction = Direction.OUTPUT) -> Any:
    """Import sounddevice.

    Raises DeviceError, with what to install, where PortAudio is missing.
    """
    try:
        import sounddevice  # noqa: PLC0415  # takes 0.1 s and fails without PortAudio: only who needs it imports it
    except OSError:
        raise DeviceError(_MISSING.format(_WITHOUT_PORTAUDIO[direction])) from None
    return sounddevice


def list_devices(portaudio: Any, direction: Direction) -> list[Device]:
    """Return the devices that can play, or those that can capture."""
    apis = portaudio.query_hostapis()
    default = portaudio.default.device[0 if direction is Direction.INPUT else 1]
    way = direction.value
    return [
        Device(
            direction=direction,
            index=index,
            name=str(d["name"]),
            host_api=str(apis[d["hostapi"]]["name"]),
            channels_max=int(d[f"max_{way}_channels"]),
            default_rate=round(d["default_samplerate"]),
            low_latency_s=float(d[f"default_low_{way}_latency"]),
            high_latency_s=float(d[f"default_high_{way}_latency"]),
            is_default=index == default,
        )
        for index, d in enumerate(portaudio.query_devices())
        if d[f"max_{way}_channels"] > 0
    ]


def find_device(portaudio: Any, wanted: str, direction: Direction = Direction.OUTPUT) -> Device:
    """Return the device with this number or name (or a part of it), or with "" the default one.

    Raises DeviceError where there is none, naming those there are.
    """
    devices = list_devices(portaudio, direction)
    if not devices:
        raise DeviceError(_WITHOUT_DEVICE[direction])
    if not wanted:
        return next((d for d in devices if d.is_default), devices[0])
    exact = [d for d in devices if wanted in (str(d.index), d.name)]
    partial = [d for d in devices if wanted.lower() in d.name.lower()]
    if exact or partial:
        return (exact or partial)[0]
    names = ", ".join(f"{d.index}: {d.name}" for d in devices)
    kind = "sound device" if direction is Direction.OUTPUT else "input"
    raise DeviceError(f"{kind} {wanted}: there is none of this name or number; there are {names}")


def open_stream(portaudio: Any, device: Device, latency_s: float, callback: Callable[..., None]) -> Any:
    """Open and start a stream in the device's direction.

    Raises DeviceError where the device refuses.
    """
    kind = portaudio.InputStream if device.direction is Direction.INPUT else portaudio.OutputStream
    try:
        stream = kind(
            samplerate=device.rate,
            channels=device.channels,
            dtype="float32",
            device=device.index,
            latency=latency_s,
            blocksize=0,  # the device's own: a fixed size that it must regroup spoils its time stamps
            callback=callback,
        )
        stream.start()
    except (portaudio.PortAudioError, ValueError) as error:
        raise DeviceError(f"sound device {device.name}: can't be opened: {error}") from None
    return stream


def refresh_devices(portaudio: Any) -> None:
    """Make PortAudio look again which devices there are: its list is made once, at initialisation."""
    portaudio._terminate()
    portaudio._initialize()
