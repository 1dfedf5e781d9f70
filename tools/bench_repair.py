"""Measures repair with many listeners, in virtual time: NACKs, repairs per source datagram, the host's processor time.

    python tools/bench_repair.py                            30 and 100 listeners, 1 % independent loss, a minute
    python tools/bench_repair.py --loss 0                   nothing is lost
    python tools/bench_repair.py --bursts                   besides, every 5 s a burst of 8 is lost to all alike
    python tools/bench_repair.py --outage 25 --stagger 1    besides, all hear nothing for 25 s, and come back within 1 s
    python tools/bench_repair.py --ahead 2                  with two parity symbols of every chunk, unasked
    python tools/bench_repair.py --growth --plot growth.png from 1 to 1,000 listeners: a minute at the most

The host is a whole `HostSession`, fed with bytes; it plays lossless chunks of half a second in 59 symbols, 45 s ahead
by default.  A listener is its `RequestScheduler` and the numbers of the symbols that it lacks: no audio, no clock.
Sources, repairs and NACKs are lost alike; a way takes 0.5 ms.  Whoever has lost something notices it as
`listener/losses.py` does, 30 ms after the chunk that follows has begun.

`per source` counts unicast and multicast repairs alike, and what is sent unasked, per source datagram.  `lacking` must
be 0: chunks that had not become whole when they were due.  `host` is the processor time of the session, all else
included but the questions to its clock and the system's calls (`bench_host_cost.py`), in percent of real time.

Measured with a buffer of 45 s:

    listeners   loss            per source   NACKs/s   sent/s   host %
            1   1 %             0.011        1.0       121      0.3
           10   1 %             0.034        3.2       124      0.6
           30   1 %             0.047        4.6       126      1.0
          100   1 %             0.054        5.4       126      1.1
         1000   1 %             0.073        8.6       129      2.3
           30   none            0            0         120
          100   bursts to all   0.014        2.0 NACKs per burst

The one that lacks most of a chunk lacks on average 2.6 of its 59 symbols if there are 30, 3.2 if there are 100 and 4.3
if there are 1000: less than 0.043, 0.054 and 0.072 can't be.  After an outage of 25 s of all, with `--loss 0`:

    listeners   back within   repairs per datagram missed   NACKs of each
     30, 100    at once       1.00, 1.00                     6.4,  2.0
     30, 100    1 s           1.23, 1.28                     7.3,  4.3
     30, 100    5 s           2.76, 2.96                    13.9, 14.7

Parity that nobody has asked for was tried with `--ahead`, 30 listeners:

    loss   buffer    ahead 0: per source, NACKs/s, lacking    ahead 2
    1 %    45 s      0.047     4.6   0                        0.045   1.2   0
    5 %    1 s       0.229    46.9   0                        0.233   8.4   0
    5 %    0.3 s     0.692   104.8   7                        0.516   2.2   0

With a long buffer it saves nothing, and costs three datagrams in a hundred where one listener loses, or none: no host
sends it.  What it heals that asking does not are a few chunks of a live stream heard 0.3 s late, at a loss of 5 %.
"""

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import numpy as np

from radiosync.audio.codec import Codec
from radiosync.audio.format import AudioFormat, SampleFormat
from radiosync.audio.song import Song
from radiosync.config import Config
from radiosync.host.coordinator import START_WAIT_NS
from radiosync.host.packetizer import CodedAudio
from radiosync.host.session import HostSession
from radiosync.listener.losses import REORDER_GUARD_NS
from radiosync.repair.request import FAR_NS, WHOLE, RequestScheduler
from radiosync.units import NS_PER_MS, NS_PER_S, HostNs, LocalNs
from radiosync.wire.codec import decode, encode
from radiosync.wire.limits import PARITY_MAX
from radiosync.wire.messages import Announce, Audio, ListenerState, Nack, Report, Solicit

START = 1_790_000_000 * NS_PER_S
WAY_NS = NS_PER_MS // 2
AUDIO = AudioFormat(16_000, 2, SampleFormat.S32)  # 128 kB/s as PCM: about what FLAC makes of a CD
BURST, BURST_EVERY_NS = 8, 5 * NS_PER_S
REPORT_NS = NS_PER_S
WARM_UP_NS = 20 * NS_PER_S  # while buffers fill four times as fast as is played
MUSIC_NS = 40 * NS_PER_MS  # from one bunch of symbols to the next


@dataclass
class Listener:
    """What it lacks, by chunk, and which parity it has."""

    address: tuple[str, int]
    requests: RequestScheduler = field(init=False)
    lost: dict[int, int] = field(default_factory=dict)
    parity: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    cookie: int = 0
    symbols_lost: int = 0
    wake_at: int = 0
    back_at: int = 0
    nothing_of: set[int] = field(default_factory=set)

    def missing(self, seq: int, _tier: int = 0) -> int:
        """Return what chunk `seq` takes to be whole, as an `Assembly` does."""
        if seq in self.nothing_of:
            return WHOLE
        bitmap = self.lost.get(seq, 0)
        for _ in self.parity.get(seq, ()):
            bitmap &= ~(1 << (bitmap.bit_length() - 1)) if bitmap else 0
        return bitmap

    def heal(self, seq: int, index: int, symbols: int) -> None:
        """Take a symbol of a chunk that lacks some."""
        self.nothing_of.discard(seq)
        if index >= symbols:
            self.parity[seq].add(index)
        else:
            self.lost[seq] &= ~(1 << index)
        if self.missing(seq) == 0:
            self.requests.forget(seq)
            del self.lost[seq]


class Bench:
    """A host, listeners and the network between them."""

    def __init__(self, listeners: int, options: argparse.Namespace) -> None:
        self.loss, self.bursts, self.ahead = options.loss, options.bursts, options.ahead
        seconds, buffer_s, seed = options.seconds, options.buffer, options.seed
        self.until = START + WARM_UP_NS + round(seconds * NS_PER_S)
        self.before: dict[str, int] = {}
        self.random = np.random.default_rng(seed)
        self.now = START
        self.events: list[tuple[int, int, Any]] = []
        self.numbers = count()
        self.cpu_ns = 0
        self.report_ns = REPORT_NS
        self.due: dict[int, int] = {}
        self.symbols: dict[int, int] = {}
        self.looked = self.missed = self.lacking = self.given = self.burst_left = self.bursts_sent = self.sent_ahead = 0
        self.burst_at = START + WARM_UP_NS
        self.out_at = START + WARM_UP_NS if options.outage else FAR_NS
        back_at = self.out_at + round(options.outage * NS_PER_S)
        config = Config.load(None, {"radio_sync.buffer_duration": buffer_s, "radio_sync.adaptive_quality": False})
        self.host = HostSession(
            config, AUDIO, rng=Random(seed), now=HostNs(START), control_port=1, clock_port=2, name="bench"
        )
        self.song = Song(song_id=1, title="", artist="", album="", frames=None)
        self.listeners = [Listener((f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 5000)) for i in range(1, listeners + 1)]
        self.by_address = {each.address: each for each in self.listeners}
        for number, each in enumerate(self.listeners):
            each.requests = RequestScheduler(Random(seed * 10_000 + number), each.missing)
            each.requests.rtt_ns = 2 * WAY_NS
            each.back_at = back_at + round(options.stagger * NS_PER_S * self.random.random())
            if options.outage:  # the music that goes on tells it what it has missed
                heard_at = each.back_at + round(MUSIC_NS * self.random.random())
                self._at(heard_at + REORDER_GUARD_NS, lambda each=each: self._look_back(each))
            ask = encode(Solicit(session=0, nonce=number + 1))
            self._at(START + 1, lambda a=each.address, d=ask: self._to_host(d, a))
            begin_at = START + NS_PER_MS + round(REPORT_NS * self.random.random())
            self._at(begin_at, lambda each=each: self._report(each))

    def _at(self, at: int, what: Any) -> None:
        heappush(self.events, (at, next(self.numbers), what))

    def _is_lost(self, each: Listener) -> bool:
        return self.out_at <= self.now < each.back_at or bool(self.random.random() < self.loss)

    # --- the host ----------------------------------------------------------------------------------------------------

    def _to_host(self, data: bytes, source: tuple[str, int]) -> None:
        begun = time.process_time_ns()
        self.host.receive_datagram(data, source, HostNs(self.now))
        self.cpu_ns += time.process_time_ns() - begun
        self._turn()

    def _turn(self) -> None:
        now, host = HostNs(self.now), self.host
        begun = time.process_time_ns()
        while host.audio_wanted(now):
            frames = host.sender.chunk_frames
            data = bytes(frames * AUDIO.frame_bytes)
            coded = CodedAudio(song=self.song, song_frame=self.given, frames=frames, codec=Codec.PCM, data=data)
            self.given += frames
            host.add_audio(coded, now)
        host.handle_timeout(now)
        sent = list(host.datagrams_to_send(now))
        while host.next_event() is not None:
            pass
        wake_at = host.next_timeout(now)
        self.cpu_ns += time.process_time_ns() - begun
        for datagram in sent:
            self._carry(datagram.data, datagram.to)
        self._at(max(wake_at, self.now + 100_000), None)

    def _carry(self, data: bytes, to: tuple[str, int] | None) -> None:
        message = decode(data)
        if isinstance(message, Announce) and to is not None:
            self.by_address[to].cookie = message.cookie
        if isinstance(message, Announce):
            self.report_ns = message.report_ms * NS_PER_MS
        if not isinstance(message, Audio):
            return
        seq, symbols = message.chunk.seq, message.chunk.symbols
        if to is not None:
            if seq in self.by_address[to].lost and not self._is_lost(self.by_address[to]):
                self._at(self.now + WAY_NS, lambda: self._arrive(self.by_address[to], seq, message.index, symbols))
        elif message.repair:
            for each in self.listeners:
                if seq in each.lost and not self._is_lost(each):
                    self._at(self.now + WAY_NS, lambda each=each: self._arrive(each, seq, message.index, symbols))
        else:
            self._source(message, symbols)

    def _source(self, message: Audio, symbols: int) -> None:
        seq = message.chunk.seq
        wait_ns = START_WAIT_NS if self.host.transport.preparation is not None else 0  # nobody says that it is ready
        self.due[seq] = message.chunk.play_at + message.chunk.frames * NS_PER_S // AUDIO.rate + wait_ns
        self.symbols[seq] = symbols
        losers = np.flatnonzero(self.random.random(len(self.listeners)) < self.loss)
        if self.bursts and self.now >= self.burst_at:
            self.burst_at, self.burst_left = self.now + BURST_EVERY_NS, BURST
            self.bursts_sent += 1
        if self.burst_left:
            self.burst_left -= 1
            losers = range(len(self.listeners))
        out = [i for i, each in enumerate(self.listeners) if self.out_at <= self.now < each.back_at]
        self.missed += bool(out)
        for number in sorted({*losers, *out}):
            each = self.listeners[number]
            each.lost[seq] = each.lost.get(seq, 0) | 1 << message.index
            each.symbols_lost += 1
            if each.lost[seq] == (1 << symbols) - 1:
                each.nothing_of.add(seq)
        if message.index == symbols - 1:
            self._send_ahead(seq, symbols)
        if message.index == 0 and seq > 0:
            self._at(self.now + WAY_NS + REORDER_GUARD_NS, lambda: self._look(seq - 1))

    def _send_ahead(self, seq: int, symbols: int) -> None:
        """Send parity that nobody has asked for, as no host does: to see what it would be good for."""
        self.sent_ahead += self.ahead
        for number in range(self.ahead):
            for each in self.listeners:
                if seq in each.lost and not self._is_lost(each):
                    each.heal(seq, symbols + PARITY_MAX - 1 - number, symbols)

    # --- the listeners -----------------------------------------------------------------------------------------------

    def _report(self, each: Listener) -> None:
        message = Report(
            session=self.host.session, cookie=each.cookie, listener_id=self.listeners.index(each) + 1,
            state=ListenerState.PLAYING, rtt_ns=2 * WAY_NS, down_ns=WAY_NS, up_ns=WAY_NS, echo_at=HostNs(0),
            echo_held_ns=0, ready_frame=None, lead_ms=0, offset_bound_ns=WAY_NS, sync_error_ns=0, rate_ppb=0,
            buffer_ms=40_000, symbols_received=0, symbols_lost=each.symbols_lost, symbols_repaired=0, chunks_late=0,
            chunks_concealed=0, underruns=0, hard_resyncs=0, name="listener",
        )  # fmt: skip
        if not each.cookie:  # a host answers so many questions a second and no more
            self._to_host(encode(Solicit(session=0, nonce=each.symbols_lost + 1)), each.address)
        else:
            self._to_host(encode(message), each.address)
        self._at(self.now + self.report_ns, lambda: self._report(each))

    def _look(self, seq: int) -> None:
        self.looked = seq
        for each in self.listeners:
            if seq in each.lost and not self.out_at <= self.now < each.back_at:
                self._want(each, seq)
        self._at(self.due[seq], lambda: self._judge(seq))

    def _look_back(self, each: Listener) -> None:
        for seq in sorted(each.lost):
            if seq <= self.looked:
                self._want(each, seq)

    def _want(self, each: Listener, seq: int) -> None:
        each.requests.symbols_per_chunk = self.symbols[seq]
        each.requests.want(seq, LocalNs(self.due[seq]), LocalNs(self.now))
        self._plan(each)

    def _judge(self, seq: int) -> None:
        for each in self.listeners:
            self.lacking += each.lost.pop(seq, 0) != 0
            each.parity.pop(seq, None)
            each.nothing_of.discard(seq)

    def _plan(self, each: Listener) -> None:
        wake_at = each.requests.next_timeout()
        if wake_at is not None and (each.wake_at <= self.now or wake_at < each.wake_at):
            each.wake_at = max(wake_at, self.now)
            self._at(each.wake_at, lambda: self._ask(each))

    def _ask(self, each: Listener) -> None:
        entries = each.requests.ask(LocalNs(self.now))
        if entries:
            data = encode(Nack(session=self.host.session, cookie=each.cookie, listener_id=1, entries=entries))
            if not self._is_lost(each):
                self._at(self.now + WAY_NS, lambda: self._to_host(data, each.address))
        each.wake_at = self.now
        self._plan(each)

    def _arrive(self, each: Listener, seq: int, index: int, symbols: int) -> None:
        if seq in each.lost:
            each.heal(seq, index, symbols)
            each.requests.heard(seq, LocalNs(self.now))

    # --- all of it ---------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, float]:
        """Run it and return a row of the table."""
        begun = time.perf_counter()
        self._at(START + WARM_UP_NS, lambda: self.before.update(self._counters()))
        self._turn()
        planned = 0
        while self.events and (self.events[0][0] <= self.until):
            at, _, what = heappop(self.events)
            self.now = max(self.now, at)
            if what is not None:
                what()
            elif at > planned or not self.events:  # the host's own wish; several may have piled up
                planned = at
                self._turn()
        told = {name: value - self.before[name] for name, value in self._counters().items()}
        seconds = (self.now - START - WARM_UP_NS) / NS_PER_S
        repairs = told["unicast"] + told["multicast"]
        return {
            "listeners": len(self.listeners),
            **{name: told[name] for name in ("source", "lost", "unicast", "multicast", "parity", "ahead")},
            "per source": (repairs + told["ahead"]) / told["source"],
            "NACKs": told["NACKs"],
            "NACKs/s": told["NACKs"] / seconds,
            "per burst": told["NACKs"] / self.bursts_sent if self.bursts_sent else 0.0,
            "per missed": repairs / self.missed if self.missed else 0.0,
            "lacking": self.lacking + sum(each.requests.given_up for each in self.listeners),
            "sent/s": told["sent"] / seconds,
            "host %": told["CPU"] / seconds / NS_PER_S * 100,
            "took s": time.perf_counter() - begun,
        }

    def _counters(self) -> dict[str, int]:
        sent = self.host.sender.counters
        return {
            "source": sent.symbols_sent,
            "lost": sum(each.symbols_lost for each in self.listeners),
            "unicast": sent.repairs_unicast,
            "multicast": sent.repairs_multicast,
            "parity": sent.repairs_parity,
            "ahead": self.sent_ahead,
            "NACKs": sum(each.requests.nacks for each in self.listeners),
            "sent": self.host.outbox.counters.datagrams_sent,
            "CPU": self.cpu_ns,
        }


def show(rows: list[dict[str, float]]) -> None:
    print("".join(f"{name:>11}" for name in rows[0]))
    for row in rows:
        print("".join(f"{v:>11.3f}" if isinstance(v, float) else f"{v:>11}" for v in row.values()), flush=True)


def plot(rows: list[dict[str, float]], path: str) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415  only here is it wanted

    titles = {
        "NACKs/s": "NACKs per second, of all listeners",
        "per source": "repair datagrams per datagram of music",
        "sent/s": "datagrams that the host sends per second: music, repairs, announcements",
        "host %": "processor time of the host's session, % of a core",
    }
    figure, axes = plt.subplots(len(titles), 1, figsize=(7, 11), sharex=True)
    numbers = [row["listeners"] for row in rows]
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        axis.plot(numbers, [row[name] for row in rows], "o-")
        axis.set_title(title, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(visible=True)
    axes[-1].set_xscale("log")
    axes[-1].set_xlabel("listeners, 1 % independent loss")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="measure repair with many listeners")
    parser.add_argument("--listeners", type=int, nargs="*", default=[30, 100])
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--seconds", type=float, default=60.0, help="after the first 20, which are not counted")
    parser.add_argument("--buffer", type=float, default=45.0, help="in seconds")
    parser.add_argument("--bursts", action="store_true")
    parser.add_argument("--outage", type=float, default=0.0, help="in seconds, of all listeners")
    parser.add_argument("--stagger", type=float, default=0.0, help="in seconds: so long they take to come back")
    parser.add_argument("--ahead", type=int, default=0, help="parity symbols to send with every chunk, unasked")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--plot", help="a PNG file for --growth")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = []
    for listeners in [1, 3, 10, 30, 100, 300, 1000] if options.growth else options.listeners:
        rows.append(Bench(listeners, options).run())
        show(rows[-1:])
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
