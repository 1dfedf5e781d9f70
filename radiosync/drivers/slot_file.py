"""A small file that is written anew many times a minute, and must be whole after a kill at any instant.

To write another file and rename it does that too, but a rename may wait for the disk, and the loop that asks for it
would.  So the file has two slots, which are overwritten in turn; each bears a number and the CRC-32 of what it
holds.  One that a kill has left half written does not count, and then the other does, which is what was there before.
Nothing is flushed to the disk: this outlasts a process, not a machine.
"""

import contextlib
import os
import struct
import zlib
from pathlib import Path

SLOT_BYTES = 1 << 19
_HEADER = struct.Struct(">4sIIQ")  # mark, CRC-32 of the rest, length, number
_REST = struct.Struct(">IQ")
_MARK = b"RSS1"
_BINARY = getattr(os, "O_BINARY", 0)  # Windows


class SlotFile:
    """One such file; the folder and the file are made when something is written, for its user alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._number = 0

    def read(self) -> bytes:
        """Return what was written last; raises FileNotFoundError, other OSErrors, or ValueError if no slot is whole."""
        with self._path.open("rb") as file:
            raw = file.read(2 * SLOT_BYTES)
        found = [slot for slot in (_slot(raw[:SLOT_BYTES]), _slot(raw[SLOT_BYTES:])) if slot is not None]
        if not found:
            raise ValueError("no slot is whole")
        self._number, data = max(found)
        return data

    def write(self, data: bytes) -> None:
        """Replace what the file holds; raises OSError, also where that does not fit."""
        if len(data) > SLOT_BYTES - _HEADER.size:
            raise OSError(f"{len(data)} bytes are more than fit")
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
        number = self._number + 1
        rest = _REST.pack(len(data), number) + data
        whole = _MARK + struct.pack(">I", zlib.crc32(rest)) + rest
        os.lseek(self._file, number % 2 * SLOT_BYTES, os.SEEK_SET)
        if os.write(self._file, whole) != len(whole):
            raise OSError("the disk is full")
        self._number = number  # not before: the other slot stays until this one is whole

    def remove(self) -> None:
        """Remove the file, if there is one; raises OSError where that can't be."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file, which stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


def _slot(raw: bytes) -> tuple[int, bytes] | None:
    """Return number and contents of a slot, or None if it is not whole."""
    if len(raw) < _HEADER.size:
        return None
    mark, crc, length, number = _HEADER.unpack_from(raw)
    end = _HEADER.size + length
    if mark != _MARK or end > len(raw) or zlib.crc32(raw[8:end]) != crc:
        return None
    return number, raw[_HEADER.size : end]
