"""The table of sound devices."""

from radiosync.drivers.portaudio import Device, Direction


def device_lines(devices: list[Device], direction: Direction) -> list[str]:
    """Return the table of the devices that can play, or of those that can capture."""
    can, option = ("capture", "host --source") if direction is Direction.INPUT else ("play", "listen --output")
    if not devices:
        return [f"no sound device that can {can} was found"]
    width = max(len(d.name) for d in devices)
    head = f"{'':2}{'no.':>4}  {'name':<{width}}  {'host API':<12} {'channels':>8} {'rate, Hz':>9} {'latency, ms':>13}"
    return [f"devices that can {can}, for {option} device:NAME-OR-NUMBER", head] + [
        f"{'*' if d.is_default else '':2}{d.index:>4}  {d.name:<{width}}  {d.host_api:<12} {d.channels_max:>8} "
        f"{d.default_rate:>9} {d.low_latency_s * 1000:>5.0f} to {d.high_latency_s * 1000:<4.0f}"
        for d in devices
    ]
