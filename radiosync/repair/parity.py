"""Parity symbols: any so many of them heal any so many losses of a chunk, at every listener at once.

A systematic code over GF(256), the bytes with addition XOR and multiplication modulo x^8 + x^4 + x^3 + x^2 + 1.  With
source symbols D_j of a chunk, all of one length (the last one padded with zeros), parity symbol i is, byte by byte,

    P_i = sum over j of C_ij x D_j        C_ij = 1 / ((192 + i) + j)        i = 0 ... 63, j = 0 ... 191

C is a Cauchy matrix: no 192 + i is a j, so every square part of it can be inverted, and any k of a chunk's k source and
64 parity symbols give the chunk (Blömer et al. 1995, TR-95-048 of ICSI).  It is the same for every k, so what a host
has made of a chunk stays right.  With a set of e lost rows L and as many parity symbols R,

    sum over j in L of C_ij x D_j  =  P_i + sum over j not in L of C_ij x D_j        for i in R

and the inverse of the e x e part of C has a closed form, in products of differences.

Eight parity symbols cost as much as one: a table of 256 words of 64 bits holds the products of a byte with a column of
eight coefficients, and is made from eight words by linearity; then one look-up and one XOR of a word do a byte of a
source symbol.  `python tools/bench_parity.py` on one core of a shared AMD EPYC server, in microseconds, symbols of 1090
bytes:

       k              m = 1           m = 4           m = 8          m = 16          m = 64     made/healed
      30          116 / 173       113 / 183       115 / 197       229 / 416       908 / 938
      60          177 / 236       179 / 252       179 / 262       363 / 548     1416 / 3292
     100          265 / 320       266 / 335       270 / 356       776 / 958     2644 / 5347
     190          479 / 537      470 / 1280       513 / 570     1721 / 1589     4470 / 6272

Others for k = 60, m = 8, which takes 184 here (`--others`): a table look-up per coefficient 886, reedsolo 1.7 46279
(pure Python), raptorq 2.0 162 (Apache, but a wheel for x86-64 Linux alone, and k symbols suffice only probably), zfec
1.6 189 (GPL, so not for us).  None that may be used is faster, so the code is our own.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from radiosync.wire.limits import PARITY_MAX
from radiosync.wire.messages import SYMBOLS_MAX

POLYNOMIAL = 0x11D
GROUP = 8  # parity symbols that are made at once: the bytes of a word

Bytes = NDArray[np.uint8]
"""Shape (symbols, symbol_bytes)."""


def _logarithms() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the powers of 2, twice over, and the logarithm of each byte to base 2; 2 generates the field."""
    powers, logs = np.zeros(510, np.uint8), np.zeros(256, np.int64)
    power = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = power
        logs[power] = exponent
        power = power << 1 ^ (POLYNOMIAL if power & 0x80 else 0)
    return powers, logs


_POWERS, _LOGS = _logarithms()
_SOURCES = np.arange(SYMBOLS_MAX)
_PARITIES = SYMBOLS_MAX + np.arange(PARITY_MAX)
assert SYMBOLS_MAX + PARITY_MAX <= 256  # each symbol has an element of the field to itself
MATRIX: Bytes = _POWERS[255 - _LOGS[_PARITIES[:, np.newaxis] ^ _SOURCES]]
"""The coefficients: row i for parity symbol i, column j for source symbol j."""


def parity_symbols(block: Bytes, first: int, count: int) -> list[bytes]:
    """Return parity symbols `first` to `first + count - 1` of the source symbols in `block`."""
    rows = MATRIX[first : first + count, : len(block)]
    return [row.tobytes() for row in _product(rows, block)]


def recover(block: Bytes, lost: Sequence[int], parity: Mapping[int, bytes]) -> Bytes:
    """Return the source symbols `lost`, in that order.

    `block` has all source symbols, zeros for those that are lost; `parity` at least as many parity symbols as are lost,
    by number.
    """
    numbers = sorted(parity)[: len(lost)]
    received = np.array([np.frombuffer(parity[i], np.uint8) for i in numbers])
    known = _product(MATRIX[numbers, : len(block)], block)
    return _product(_inverse(_PARITIES[numbers], _SOURCES[list(lost)]), received ^ known)


def block_of(symbols: Sequence[bytes], symbol_bytes: int) -> Bytes:
    """Return `symbols` as a block, the last one padded with zeros."""
    padded = b"".join(symbols).ljust(len(symbols) * symbol_bytes, b"\0")
    return np.frombuffer(padded, np.uint8).reshape(len(symbols), symbol_bytes)


def _product(rows: Bytes, block: Bytes) -> Bytes:
    """Return the matrix product of `rows`, shape (n, k), and `block`, shape (k, symbol_bytes)."""
    count, width = rows.shape
    made = np.empty((count, block.shape[1]), np.uint8)
    for begin in range(0, count, GROUP):
        group = rows[begin : begin + GROUP]
        # A row's product with a byte is the XOR of its products with the byte's bits: tables double bit by bit.
        column = np.zeros((width, GROUP), np.uint8)
        column[:, : len(group)] = group.T
        tables = np.zeros((width, 256), np.uint64)
        for bit in range(8):
            words = _times_power(column, bit).view(np.uint64)
            tables[:, 1 << bit : 2 << bit] = tables[:, : 1 << bit] ^ words
        total = np.zeros(block.shape[1], np.uint64)
        for table, symbol in zip(tables, block, strict=True):
            total ^= table.take(symbol)
        made[begin : begin + GROUP] = total.view(np.uint8).reshape(-1, GROUP).T[: len(group)]
    return made


def _times_power(values: Bytes, exponent: int) -> Bytes:
    """Return `values` times 2 to the power of `exponent`."""
    product: Bytes = np.where(values, _POWERS[_LOGS[values] + exponent], 0).astype(np.uint8)
    return product


def _inverse(x: NDArray[np.int64], y: NDArray[np.int64]) -> Bytes:
    """Return the inverse of the Cauchy matrix 1 / (x_i + y_j), shape (n, n).

    Knuth, The Art of Computer Programming volume 1, section 1.2.3, exercise 41; signs do not matter here.
    """
    between = _LOGS[x[:, np.newaxis] ^ y]  # the logarithm of x_i + y_j
    own_x, own_y = (_LOGS[z[:, np.newaxis] ^ z].sum(axis=1) for z in (x, y))  # that of 0 is noted as 0
    numerators = between.sum(axis=1) + between.sum(axis=0)[:, np.newaxis]
    denominators = between.T + own_x + own_y[:, np.newaxis]
    inverse: Bytes = _POWERS[(numerators - denominators) % 255]
    return inverse
