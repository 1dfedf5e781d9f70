"""PortAudio through sounddevice: loading it, choosing a device, opening a stream."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from radiosync.audio.format import AudioFormat
from radiosync.errors import DeviceError

MISSING = (
    "PortAudio is not installed: install it (Debian, Ubuntu: apt install libportaudio2), or play into a file with "
    "--output wav:PATH, which works without it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An output device, and what it is or will be opened with."""

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

    def opened_for(self, portaudio: Any, audio: AudioFormat) -> "Device":
        """Return the device with the stream's rate and channels where it can do them, else with its own."""
        for channels in dict.fromkeys((min(audio.channels, self.channels_max), min(2, self.channels_max))):
            for rate in dict.fromkeys((audio.rate, self.default_rate)):
                try:
                    portaudio.check_output_settings(self.index, channels=channels, dtype="float32", samplerate=rate)
                except (portaudio.PortAudioError, ValueError):
                    continue
                return replace(self, rate=rate, channels=channels)
        raise DeviceError(
            f"sound device {self.name}: it takes neither {audio.rate} nor {self.default_rate} Hz; try another"
        )

    def suits(self, audio: AudioFormat) -> bool:
        """Say whether a device that is open already serves this format as well as a fresh one would."""
        return self.rate == audio.rate and self.channels == min(audio.channels, self.channels_max)


def load_portaudio() -> Any:
    """Import sounddevice.

    Raises DeviceError, with what to install, where PortAudio is missing.
    """
    try:
        import sounddevice  # noqa: PLC0415  # takes 0.1 s and fails without PortAudio: only who needs it imports it
    except OSError:
        raise DeviceError(MISSING) from None
    return sounddevice


def output_devices(portaudio: Any) -> list[Device]:
    """Return the devices that can play."""
    apis = portaudio.query_hostapis()
    default = portaudio.default.device[1]
    return [
        Device(
            index=index,
            name=str(d["name"]),
            host_api=str(apis[d["hostapi"]]["name"]),
            channels_max=int(d["max_output_channels"]),
            default_rate=round(d["default_samplerate"]),
            low_latency_s=float(d["default_low_output_latency"]),
            high_latency_s=float(d["default_high_output_latency"]),
            is_default=index == default,
        )
        for index, d in enumerate(portaudio.query_devices())
        if d["max_output_channels"] > 0
    ]


def find_device(portaudio: Any, wanted: str) -> Device:
    """Return the device with this number or name (or a part of it), or with "" the default one.

    Raises DeviceError where there is none, naming those there are.
    """
    devices = output_devices(portaudio)
    if not devices:
        raise DeviceError(
            "no sound device was found: plug one in or start the sound server, or use --output wav:PATH or null"
        )
    if not wanted:
        return next((d for d in devices if d.is_default), devices[0])
    exact = [d for d in devices if wanted in (str(d.index), d.name)]
    partial = [d for d in devices if wanted.lower() in d.name.lower()]
    if exact or partial:
        return (exact or partial)[0]
    names = ", ".join(f"{d.index}: {d.name}" for d in devices)
    raise DeviceError(f"sound device {wanted}: there is none of this name or number; there are {names}")


def open_stream(portaudio: Any, device: Device, latency_s: float, callback: Callable[..., None]) -> Any:
    """Open and start an output stream.

    Raises DeviceError where the device refuses.
    """
    try:
        stream = portaudio.OutputStream(
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
