"""`radiosync doctor`: whether this machine can take part, and what to mend."""

from collections.abc import Callable

from radiosync.config import Config
from radiosync.drivers import checkup
from radiosync.drivers.checkup import Finding, Verdict
from radiosync.drivers.interfaces import Interface
from radiosync.units import NS_PER_MS
from radiosync.wire.groups import endpoint

Say = Callable[[str], None]


def run_doctor(config: Config, place: Interface, say: Say) -> bool:
    """Look at this machine and at the host, say each finding as it comes, and return whether all is well."""
    well = True

    def tell(finding: Finding) -> None:
        nonlocal well
        well = well and finding.verdict is not Verdict.BAD
        for line in finding_lines(finding):
            say(line)

    network = config.network
    tell(Finding("interface", Verdict.GOOD, f"{place.ip} {place.name}".rstrip()))
    tell(checkup.check_multicast(place, network))
    tell(checkup.check_receive_buffer(place))
    tell(checkup.check_stamps(place))
    tell(checkup.check_wake_ups())
    kind, _, wanted = config.listener.output.partition(":")
    if kind == "device":
        tell(checkup.check_device(wanted))
    asked = config.listener.host or endpoint(network.group, network.port)
    host = checkup.find_host(place, config)
    if host is None:
        mend = "if one is running: the same --group and --port on both sides? or name it with --host ADDRESS"
        tell(Finding("host", Verdict.NOTE, f"none answers at {asked}", mend))
        return well
    name = host.announce.host_name or "a host without a name"
    tell(Finding("host", Verdict.GOOD, f"{name} at {host.ip}, found in {host.took_ns / NS_PER_MS:.0f} ms"))
    tell(checkup.check_music(place, network, host))
    for finding in checkup.check_clock(place, network, host):
        tell(finding)
    return well


def finding_lines(finding: Finding) -> list[str]:
    """Return a finding as one line, and its mend as another."""
    lines = [f"{finding.verdict.value:<4}  {finding.what}: {finding.says}"]
    if finding.mend:
        lines.append(f"      {finding.mend}")
    return lines
