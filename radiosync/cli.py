"""The command line: parses and calls, decides nothing."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from radiosync.config import Config
from radiosync.drivers.interfaces import find_interface, find_interfaces
from radiosync.drivers.startup import Startup
from radiosync.errors import ConfigError, UserError
from radiosync.ui import console
from radiosync.ui.running import duration_in_ns, exit_after, host_name, place_keys, running
from radiosync.units import NS_PER_S
from radiosync.wire.groups import endpoint

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="a TOML file; options win over it")]
GroupOption = Annotated[str | None, typer.Option(help="the multicast group")]
PortOption = Annotated[int | None, typer.Option(help="the group's UDP port; the two after it are the host's own")]
InterfaceOption = Annotated[str | None, typer.Option(help="the network interface, by name or address")]
InterfacesOption = Annotated[
    str | None, typer.Option("--interface", help="the network interface, by name or address; several: eth0,wlan0")
]
StatsOption = Annotated[Path | None, typer.Option("--stats-json", help="write statistics there, one line a second")]
DurationOption = Annotated[float | None, typer.Option(help="stop after so many seconds")]


# Typer has a copy of click inside, or uses it from outside, as its version has it; this is the same exception in both.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


@app.command()
def host(
    source: Annotated[
        list[str],
        typer.Option(
            help="a file, a folder or a playlist, may be given several times; - for standard input, exec:COMMAND, "
            "device for the default input, device:NAME-OR-NUMBER"
        ),
    ],
    group: GroupOption = None,
    port: PortOption = None,
    interface: InterfacesOption = None,
    buffer: Annotated[float | None, typer.Option(help="seconds sent ahead")] = None,
    codec: Annotated[str | None, typer.Option(help="auto, flac or pcm")] = None,
    rate: Annotated[int | None, typer.Option(help="the stream's rate; the first song's if not given")] = None,
    channels: Annotated[int | None, typer.Option(help="the stream's channels; the first song's if not given")] = None,
    format: Annotated[
        str, typer.Option(help="of raw PCM from - or exec: with --rate, or from a device: s16, s24, s32 or f32")
    ] = "s16",
    loop: Annotated[bool | None, typer.Option("--loop", help="begin again after the last song")] = None,
    config: ConfigOption = None,
    stats_json: StatsOption = None,
    duration: DurationOption = None,
) -> None:
    """Send music to a group, to be heard everywhere at the same instant."""
    from radiosync.drivers.host_driver import HostDriver  # noqa: PLC0415  # a listener has no use for it
    from radiosync.drivers.host_state import HostState  # noqa: PLC0415
    from radiosync.drivers.keys import HELP  # noqa: PLC0415
    from radiosync.drivers.sources import open_source  # noqa: PLC0415
    from radiosync.ui.host_lines import host_line  # noqa: PLC0415

    duration_ns = duration_in_ns(duration)
    settings = Config.load(
        config,
        place_keys(group, port, interface)
        | {
            "radio_sync.buffer_duration": buffer,
            "host.codec": codec,
            "host.rate": rate,
            "host.channels": channels,
            "host.loop": loop,
        },
    )
    places = find_interfaces(settings.network.interface, settings.network.group)
    console.keep_stderr()
    music = open_source(source, settings, format, console.warn)
    state = HostState.open(settings, music, places[0], console.warn)
    driver = HostDriver(settings, music, places, host_name(), stats_json, state=state)
    network = settings.network
    console.say(
        f"sending {console.format_line(music.format)} to {endpoint(network.group, network.port)} from "
        + " and ".join(place.ip for place in places)
    )
    if state is not None and state.remembered is not None:
        console.say(f"going on where a host was killed {state.silent_ns / NS_PER_S:.1f} s ago")
    if driver.control_error is not None:
        console.warn(str(driver.control_error))
    if driver.keys.active:
        console.say(HELP)
    with running():
        driver.run(lambda event: console.say(host_line(event)), duration_ns)


@app.command()
def listen(
    context: typer.Context,
    group: GroupOption = None,
    port: PortOption = None,
    interface: InterfaceOption = None,
    host: Annotated[str | None, typer.Option(help="ask this address for the host instead of the group")] = None,
    output: Annotated[str | None, typer.Option(help="device, device:NAME-OR-NUMBER, wav:PATH, pipe:- or null")] = None,
    name: Annotated[str | None, typer.Option(help="what the host calls this listener")] = None,
    offset_ms: Annotated[float | None, typer.Option(help="play so much later (positive) or earlier")] = None,
    volume: Annotated[float | None, typer.Option(help="0 to 100")] = None,
    record: Annotated[
        Path | None, typer.Option(help="with a device: also write what it is given into a WAV file")
    ] = None,
    config: ConfigOption = None,
    stats_json: StatsOption = None,
    duration: DurationOption = None,
) -> None:
    """Play what a group's host sends, at the instant it should be heard."""
    from radiosync.ui.listen import run_listen  # noqa: PLC0415

    run_listen(
        context.obj,
        group=group,
        port=port,
        interface=interface,
        host=host,
        output=output,
        name=name,
        offset_ms=offset_ms,
        volume=volume,
        record=record,
        config=config,
        stats_json=stats_json,
        duration=duration,
    )


@app.command()
def ctl(
    command: Annotated[str, typer.Argument(help="play, pause, resume, next, prev, seek, stop, resync, queue, status")],
    seconds: Annotated[float | None, typer.Argument(help="with seek: the position in the song")] = None,
    host: Annotated[str | None, typer.Option(help="the host's control address, ADDRESS:PORT")] = None,
    json: Annotated[bool, typer.Option("--json", help="print the host's answer as JSON")] = False,
) -> None:
    """Order a host to pause, skip, seek or let everybody resync, or ask what it plays."""
    from radiosync.ui.ctl import run_ctl  # noqa: PLC0415

    for line in run_ctl(command, seconds, host, as_json=json):
        typer.echo(line)


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="the UDP port; a free one if not given")] = None,
    files: Annotated[bool, typer.Option("--files", help="play into WAV files even if there is a sound device")] = False,
) -> None:
    """Play a tune on two listeners of this machine, and measure how well they agree."""
    from radiosync.ui.demo import run_demo  # noqa: PLC0415

    if not run_demo(console.say, port, files=files):
        raise typer.Exit(1)


@app.command()
def calibrate(
    recording: Annotated[
        Path | None, typer.Option(help="tell what this sound file says, which was recorded while the last one played")
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="record by device or device:NAME-OR-NUMBER meanwhile, and tell at the end")
    ] = None,
    rounds: Annotated[int, typer.Option(help="how often each listener is heard; 2 to 8")] = 4,
    plan: Annotated[Path | None, typer.Option(help="the file that says who played when")] = None,
    group: GroupOption = None,
    port: PortOption = None,
    interface: InterfaceOption = None,
    config: ConfigOption = None,
) -> None:
    """Play a test sound on each listener in turn, and tell from a recording which --offset-ms each one needs."""
    from radiosync.drivers.calibration import default_plan_path  # noqa: PLC0415
    from radiosync.drivers.capture_source import is_capture  # noqa: PLC0415
    from radiosync.ui.calibrate import analyse_recording, run_calibration  # noqa: PLC0415

    plan_path = plan or default_plan_path()
    if recording is not None and input is not None:
        raise ConfigError("--recording and --input: a recording is there or is made; give one of them")
    if input is not None and not is_capture(input):
        raise ConfigError(f"--input {input}: must be device or device:NAME-OR-NUMBER; see radiosync devices")
    if recording is not None:
        good = analyse_recording(recording, plan_path, console.say)
    else:
        settings = Config.load(config, place_keys(group, port, interface))
        place = find_interface(settings.network.interface, settings.network.group)
        good = run_calibration(settings, place, host_name(), rounds, plan_path, input, console.say)
    if not good:
        raise typer.Exit(1)


@app.command()
def sim(
    scenario: Annotated[Path | None, typer.Option(help="a scenario file, as in configs/scenarios")] = None,
    swarm: Annotated[bool, typer.Option("--swarm", help="draw a party and its troubles from each seed")] = False,
    seed: Annotated[int, typer.Option(min=0, help="what everything random is drawn from")] = 0,
    seeds: Annotated[str | None, typer.Option(help="A..B: one run for each of these seeds")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, when there are several")] = 1,
    listeners: Annotated[
        int | None, typer.Option(help="so many listeners instead of the scenario's; of a drawn party, at most")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="so much music instead of the scenario's")] = None,
    isolation: Annotated[
        bool, typer.Option("--isolation", help="again without villains and broken listeners: nobody else may notice")
    ] = False,
    trace: Annotated[Path | None, typer.Option(help="write what happened there, as JSON lines; - for stdout")] = None,
) -> None:
    """Run host and listeners in a simulated network and time, with faults, and check what is heard."""
    from radiosync.ui.simulate import parse_seeds, run_sim  # noqa: PLC0415

    several = range(seed, seed + 1) if seeds is None else parse_seeds(seeds)
    if not run_sim(
        scenario,
        swarm=swarm,
        seeds=several,
        jobs=jobs,
        listeners=listeners,
        minutes=minutes,
        isolation=isolation,
        trace=trace,
        say=console.say,
    ):
        raise typer.Exit(1)


@app.command()
def devices() -> None:
    """List the sound devices that can play, and those that can capture."""
    from radiosync.drivers.portaudio import Direction, list_devices, load_portaudio  # noqa: PLC0415
    from radiosync.ui.device_lines import device_lines  # noqa: PLC0415

    portaudio = load_portaudio()
    for direction in (Direction.OUTPUT, Direction.INPUT):
        for line in device_lines(list_devices(portaudio, direction), direction):
            typer.echo(line)


@app.command()
def doctor(
    group: GroupOption = None,
    port: PortOption = None,
    interface: InterfaceOption = None,
    host: Annotated[str | None, typer.Option(help="ask this address for the host instead of the group")] = None,
    output: Annotated[str | None, typer.Option(help="device, device:NAME-OR-NUMBER, or null for none")] = None,
    config: ConfigOption = None,
) -> None:
    """Look at this computer's network, clock and sound device, and at the host, and say what to mend."""
    from radiosync.ui.doctor import run_doctor  # noqa: PLC0415

    settings = Config.load(
        config,
        place_keys(group, port, interface) | {"listener.host": host, "listener.output": output},
    )
    place = find_interface(settings.network.interface, settings.network.group, settings.listener.host)
    if not run_doctor(settings, place, typer.echo):
        raise typer.Exit(1)


def _usage_line(error: Any) -> str:
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    command = "radiosync" if error.ctx is None else error.ctx.command_path
    return f"{message}; see {command} --help"


def main(startup: Startup | None = None) -> None:
    """Run the command line; a person's mistake is one line and exit status 2."""
    exit_after(lambda: _run(startup or Startup()))


def _run(startup: Startup) -> int:
    try:
        result: Any = app(sys.argv[1:] or ["--help"], standalone_mode=False, obj=startup)
    except _UsageError as error:
        raise UserError(_usage_line(error)) from None
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        return 0
    return result if isinstance(result, int) else 0
