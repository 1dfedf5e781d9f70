"""Measures the erasure code of `radiosync/repair/parity.py`, and others where they are installed.

    python tools/bench_parity.py                 microseconds to make and to heal, by symbols of a chunk
    python tools/bench_parity.py --others        beside reedsolo, raptorq, zfec and a table look-up per coefficient

A chunk has k symbols of 1090 bytes, `made` is m parity symbols of them, `healed` m lost symbols from as many parity
symbols.  The best of some runs.
"""

import argparse
import importlib
import time
from collections.abc import Callable

import numpy as np

from radiosync.repair.parity import MATRIX, Bytes, parity_symbols, recover
from radiosync.wire.codec import SYMBOL_BYTES_MAX

COUNTS = (30, 60, 100, 190)
LOSSES = (1, 4, 8, 16, 64)
RUNS = 7


def best_us(what: Callable[[], object], runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        what()
        times.append(time.perf_counter() - begun)
    return min(times) * 1e6


def block_of(count: int) -> Bytes:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, SYMBOL_BYTES_MAX), np.uint8)


def ours(block: Bytes, losses: int) -> tuple[float, float]:
    lost = [i * len(block) // losses for i in range(losses)] if losses <= len(block) else list(range(len(block)))
    parity = dict(enumerate(parity_symbols(block, 0, losses)))
    damaged = block.copy()
    damaged[lost] = 0
    assert np.array_equal(recover(damaged, lost, parity), block[lost])
    return best_us(lambda: parity_symbols(block, 0, losses)), best_us(lambda: recover(damaged, lost, parity))


def table() -> None:
    print("   k   " + "".join(f"{f'm = {m}':>16}" for m in LOSSES) + "     made/healed, µs")
    for count in COUNTS:
        cells = []
        for losses in LOSSES:
            made, healed = ours(block_of(count), losses)
            cells.append(f"{f'{made:.0f} / {healed:.0f}':>16}")
        print(f"{count:>4}   " + "".join(cells))


def a_look_up_per_coefficient(block: Bytes, losses: int) -> Callable[[], object]:
    """Make parity with one table of 256 bytes for each coefficient."""
    logs = {int(p): e for e, p in enumerate(_powers())}
    tables = np.array(
        [[_powers()[(logs[a] + logs[b]) % 255] if a and b else 0 for b in range(256)] for a in range(256)], np.uint8
    )

    def make() -> None:
        for row in MATRIX[:losses, : len(block)]:
            total = np.zeros(block.shape[1], np.uint8)
            for coefficient, symbol in zip(row, block, strict=True):
                total ^= tables[coefficient].take(symbol)

    return make


def _powers() -> list[int]:
    powers, power = [], 1
    for _ in range(255):
        powers.append(power)
        power = power << 1 ^ (0x11D if power & 0x80 else 0)
    return powers


def reedsolo(block: Bytes, losses: int) -> Callable[[], object]:
    codec = importlib.import_module("reedsolo").RSCodec(losses, nsize=len(block) + losses)
    columns = [bytes(column) for column in block.T]
    return lambda: [codec.encode(column) for column in columns]


def raptorq(block: Bytes, losses: int) -> Callable[[], object]:
    module, data = importlib.import_module("raptorq"), block[:, :1088].tobytes()  # it wants a multiple of 8
    return lambda: module.Encoder.with_defaults(data, 1088).get_encoded_packets(losses)


def zfec(block: Bytes, losses: int) -> Callable[[], object]:
    encoder = importlib.import_module("zfec").Encoder(len(block), len(block) + losses)
    symbols, numbers = [bytes(symbol) for symbol in block], list(range(len(block), len(block) + losses))
    return lambda: encoder.encode(symbols, numbers)


def others() -> None:
    print("   k   m" + "".join(f"{name:>13}" for name in ("ours", "look-ups", "reedsolo", "raptorq", "zfec")) + "   µs")
    for count in (30, 60, 190):
        for losses in (1, 8):
            block, cells = block_of(count), []
            for maker in (None, a_look_up_per_coefficient, reedsolo, raptorq, zfec):
                try:
                    run = maker(block, losses) if maker else lambda b=block, m=losses: parity_symbols(b, 0, m)
                except ImportError:
                    cells.append("-")
                    continue
                cells.append(f"{best_us(run, 2 if maker is reedsolo else RUNS):.0f}")
            print(f"{count:>4} {losses:>3}" + "".join(f"{cell:>13}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the parity code")
    parser.add_argument("--others", action="store_true", help="beside other implementations")
    others() if parser.parse_args().others else table()


if __name__ == "__main__":
    main()
