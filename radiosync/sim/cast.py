"""The nodes of a scenario as they come and go, and what goes wrong with them."""

from dataclasses import replace

from radiosync.host.commands import Command
from radiosync.sim.card import DacSettings
from radiosync.sim.clocks import ClockSettings, Shift
from radiosync.sim.link import LinkSettings
from radiosync.sim.machine import Machine
from radiosync.sim.nodes import HostNode, ListenerNode
from radiosync.sim.process import Process
from radiosync.sim.scenario import Fault, Host, Listeners, Order, Scenario, Villain
from radiosync.sim.scheduler import TrueNs
from radiosync.sim.villains import Acting
from radiosync.sim.world import HOST_EPOCH_NS, NodeSettings, World
from radiosync.units import NS_PER_MS, ns_from_s

LINK_FAULTS = ("outage", "throttle", "jitter", "no_multicast")  # and what begins so: of the links, see _with_faults


class Cast:
    """The nodes of a scenario as they come and go."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        self.scenario = scenario
        self.world = world
        self.groups: dict[str, list[tuple[Machine, DacSettings | None]]] = {}
        self.listeners: dict[str, ListenerNode] = {}
        self.villains: list[Acting] = []
        self.moves = 0
        self.host_machine = self._machine_of(scenario.host, "host")
        self.host_machines = {"host": self.host_machine}
        if scenario.neighbour is not None:
            self.host_machines["neighbour"] = self._machine_of(scenario.neighbour, "neighbour")

    def start_host(self) -> None:
        """Start the host, or start it anew."""
        self._start(self.host_machine, self.scenario.host)

    def start_neighbour(self) -> None:
        """Start the other host."""
        if self.scenario.neighbour is not None:
            self._start(self.host_machines["neighbour"], self.scenario.neighbour)

    def continue_host(self) -> None:
        """Start the host that was killed, where it was if it can go on there."""
        if self.world.continue_host(self.host()) is None:
            self.start_host()

    def host(self) -> HostNode:
        """Return the host as it was started last."""
        return self.world.newest("host")

    def add(self, group: Listeners) -> None:
        """Prepare the machines of one group, and plan their start."""
        told = {"listener.host": self.host_machines[group.hears].ip} if group.hears else {}
        config = self.scenario.settings_with(told)
        members = self.groups.setdefault(group.name, [])
        for name in group.names:
            draw = self.world.rng(name, "spread")
            clock = ClockSettings(
                offset_ns=group.clock.offset_ns + ns_from_s(draw.uniform(0.0, group.offset_s_spread)),
                skew_ppm=group.clock.skew_ppm + draw.uniform(-group.clock_ppm_spread, group.clock_ppm_spread),
                wander_ppm=group.clock.wander_ppm,
            )
            dac = group.dac
            if dac is not None:
                spread = group.dac_ppm_spread
                dac = replace(dac, skew_ppm=dac.skew_ppm + draw.uniform(-spread, spread))
            settings = NodeSettings(
                clock=clock,
                up=_with_faults(group.up, group, self.scenario.faults, "outage_up"),
                down=_with_faults(group.down, group, self.scenario.faults, "outage_down"),
                kernel_stamps=group.kernel_stamps,
                block_ns=round(group.block_ms * NS_PER_MS),
            )
            machine = self.world.machine(name, settings, config)
            members.append((machine, dac))
            start_at = ns_from_s(group.start_s + draw.uniform(0.0, group.start_s_spread))
            self.world.at(start_at, lambda machine=machine, dac=dac: self.start_listener(machine, dac))  # type: ignore[misc]

    def start_listener(self, machine: Machine, dac: DacSettings | None) -> None:
        """Start a listener on `machine`, unless one runs there."""
        running = self.listeners.get(machine.name)
        if running is None or running.stopped:  # two restarts may overlap
            self.listeners[machine.name] = self.world.start_listener(machine, dac)

    def plan(self, fault: Fault) -> None:
        """Plan what a fault does; outages are the links' own business."""
        world, until = self.world, TrueNs(ns_from_s(fault.at_s + fault.for_s))
        at_ns = ns_from_s(fault.at_s)
        if fault.kind == "host_stall":
            world.at(at_ns, lambda: self.host().process.stall(until))
        elif fault.kind == "host_return":
            world.at(at_ns, lambda: self.host().kill())
            world.at(until, self.continue_host)
        elif fault.kind == "host_restart":
            world.at(at_ns, lambda: self.host().kill())
            world.at(until, self.start_host)
        elif fault.kind in {"host_suspend", "host_clock_step", "host_slew"}:
            world.at(at_ns, lambda: self._hit_clock(fault, self.host_machine, self.host().process, until))
        elif not fault.kind.startswith(LINK_FAULTS):
            for name in fault.listeners or tuple(self.groups):
                for machine, dac in self.groups[name]:
                    world.at(at_ns, lambda m=machine: self._hit(fault, m, until))  # type: ignore[misc]
                    if fault.kind in {"listener_restart", "leave"}:
                        world.at(until, lambda m=machine, d=dac: self.start_listener(m, d))  # type: ignore[misc]

    def invite(self, villain: Villain) -> None:
        """Plan the coming of a villain."""
        number = len(self.villains)
        machine = self.world.machine(f"{villain.kind}{number}", NodeSettings(), self.scenario.settings)
        acting = Acting(machine, villain, ns_from_s(villain.at_s + villain.for_s))
        self.villains.append(acting)
        self.world.at(ns_from_s(villain.at_s), acting.begin)

    def heal(self) -> None:
        """Plan the end of all faults."""
        if self.scenario.calm_from_s is not None:
            self.world.at(ns_from_s(self.scenario.calm_from_s), self.world.network.heal)

    def obey(self, order: Order) -> None:
        """Plan an order to the host."""
        self.world.at(ns_from_s(order.at_s), lambda: self.host().order(Command(order.kind), order.seconds))

    def _machine_of(self, host: Host, name: str) -> Machine:
        clock = replace(host.clock, offset_ns=HOST_EPOCH_NS + host.clock.offset_ns)
        return self.world.machine(name, NodeSettings(clock=clock, up=host.up, down=host.down), self.scenario.settings)

    def _start(self, machine: Machine, host: Host) -> None:
        stream = self.scenario.stream_of(host)
        self.world.start_host(
            machine,
            stream.format,
            stream.song_frames,
            dense=stream.dense,
            live=stream.live,
            first_seq=host.first_seq,
        )

    def _hit(self, fault: Fault, machine: Machine, until: TrueNs) -> None:
        node = self.listeners.get(machine.name)
        if node is None:
            return
        match fault.kind:
            case "stall":
                node.process.stall(until)
            case "listener_restart":
                node.kill()
            case "leave":
                node.stop()
            case "membership_lost":
                self.world.network.forget_members(self.world.network.address_of(machine.ip))
            case "address_change":
                self.moves += 1
                self.world.network.readdress(machine.ip, f"10.1.{self.moves >> 8}.{self.moves & 255}")
            case "unplug" if node.dac is not None:
                node.dac.unplug(until)
            case "card_delay" if node.dac is not None:
                node.dac.delay(round(fault.ms * NS_PER_MS))
            case "suspend":
                self._hit_clock(fault, machine, node.process, until)
                if node.dac is not None:
                    node.dac.suspend(until)
            case _:
                self._hit_clock(fault, machine, node.process, until)

    def _hit_clock(self, fault: Fault, machine: Machine, process: Process, until: TrueNs) -> None:
        world, clock, now = self.world, machine.clock, self.world.now
        if now < world.disturbed.get(machine.name, 0):
            return  # one thing at a time
        world.disturbed[machine.name] = until
        shift = Shift(begin=now, end=until, size_ns=now - until)
        if fault.kind.endswith("suspend"):
            process.stall(until)
            clock.suspend(now, until)
        elif fault.kind.endswith("clock_step"):
            shift = Shift(begin=now, end=now, size_ns=fault.ms * NS_PER_MS)
            clock.adjust(now, ahead_ns=round(shift.size_ns))
        elif fault.kind.endswith("slew"):
            shift = Shift(begin=now, end=until, size_ns=fault.ppm * 1e-6 * (until - now))
            clock.adjust(now, slew_ppm=fault.ppm)
            world.at(until, lambda: clock.adjust(world.now, slew_ppm=-fault.ppm))
        world.shifts.setdefault(machine.name, []).append(shift)


def _with_faults(link: LinkSettings, group: Listeners, faults: tuple[Fault, ...], outage: str) -> LinkSettings:
    """Return one direction of the links of `group` with what goes wrong on it; `outage` is its own kind of outage."""

    def during(*kinds: str) -> list[tuple[int, int, Fault]]:
        mine = (f for f in faults if f.kind in kinds and (not f.listeners or group.name in f.listeners))
        return [(ns_from_s(f.at_s), ns_from_s(f.at_s + f.for_s), f) for f in mine]

    throttled = during("throttle") if outage == "outage_down" else []
    cut_off = during("no_multicast") if outage == "outage_down" else []
    return replace(
        link,
        outages_ns=link.outages_ns + tuple((begin, end) for begin, end, _ in during("outage", outage, "suspend")),
        multicast_outages_ns=link.multicast_outages_ns + tuple((begin, end) for begin, end, _ in cut_off),
        throttles_ns=link.throttles_ns + tuple((begin, end, round(f.kbps * 1000)) for begin, end, f in throttled),
        rough_ns=link.rough_ns + tuple((begin, end) for begin, end, _ in during("jitter")),
    )
