"""Turn a chunk's samples into bytes that can be decoded alone, and back, bit for bit; what is lossy is in `opus.py`.

FLAC (RFC 9639) takes 20 to 40 percent off dense music and nearly all of silence.  A file made by libsndfile begins
with 86 bytes that say what the chunk's header says already: the `fLaC` mark, STREAMINFO and a vendor comment.  They
are cut off, and the decoder builds its own:

    "fLaC" | last block, type 0, 34 bytes | min block 16 | max block 16 | min frame 24 | max frame 24
           | rate 20 | channels - 1 : 3 | bits - 1 : 5 | frames 36 | MD5 128

with the MD5 and the frame sizes 0, which mean "unknown" (RFC 9639, section 8.2).  So nothing from the network decides
how much is allocated: the caller says how many frames there are, and libFLAC keeps at most one block of 65535 frames
beside that.  Each FLAC frame carries its own CRC-16, and a chunk that doesn't end with its last frame is refused.

What FLAC can't hold or would make larger travels as PCM; the codec that was used travels beside the bytes.
"""

import io
import struct
from enum import IntEnum

import numpy as np
import soundfile

from radiosync.audio import opus, pcm
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.audio.opus import Decoded
from radiosync.errors import RemoteProtocolError

FLAC_FRAMES_MIN = 16  # the smallest block size of STREAMINFO (RFC 9639, section 8.2)
FLAC_BLOCK_FRAMES = 4096  # what libFLAC uses at its default level
FLAC_SUBSET_RATE_MAX = 65_535  # a frame header holds more only in tens of Hz (RFC 9639, section 9.1.2)
_FLAC_BITS = {SampleFormat.S16: 16, SampleFormat.S24: 24}
_FLAC_BITS_CODE = {SampleFormat.S16: 0b100, SampleFormat.S24: 0b110}  # in a frame header (RFC 9639, section 9.1.4)
_FLAC_SYNC = b"\xff\xf8"  # the sync code with a fixed block size (RFC 9639, section 9.1)


class Codec(IntEnum):
    """How a chunk's audio is coded; the value is the code on the wire."""

    PCM = 1
    FLAC = 2
    OPUS = 3


class SequentialSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read from front to back.

    soundfile seeks to where it already is after every read of a seekable file: wasted work, an error at the end of a
    cut-off FLAC stream, and an inexact seek in some lossy formats.
    """

    def seekable(self) -> bool:
        """Deny seeking."""
        return False


class ChunkCodec:
    """Code and decode chunks.

    `pcm_escapes` counts the chunks that were to be compressed but travel as PCM.
    """

    __slots__ = ("pcm_escapes",)

    def __init__(self) -> None:
        self.pcm_escapes = 0

    def encode(self, samples: Samples, audio: AudioFormat, codec: Codec) -> tuple[Codec, bytes]:
        """Code samples of shape (frames, channels) without loss; return the codec really used with the bytes."""
        if codec is Codec.FLAC:
            coded = _flac_encode(samples, audio)
            if coded is not None:
                return Codec.FLAC, coded
            self.pcm_escapes += 1
        return Codec.PCM, pcm.bytes_from_samples(samples, audio.sample)

    def decode(self, codec: Codec, data: bytes, audio: AudioFormat, frames: int) -> Samples:
        """Decode a chunk of exactly `frames` frames.

        Raises RemoteProtocolError for bytes that are not such a chunk.
        """
        return self.decode_with_overlap(codec, data, audio, frames).samples

    def decode_with_overlap(self, codec: Codec, data: bytes, audio: AudioFormat, frames: int) -> Decoded:
        """Decode a chunk of exactly `frames` frames, and what it holds of its neighbours to be cross-faded with them.

        Raises RemoteProtocolError for bytes that are not such a chunk.
        """
        if codec is Codec.OPUS:
            return opus.decode(data, audio, frames)
        none = audio.silence(0)
        return Decoded(none, self._decode_exactly(codec, data, audio, frames), none)

    @staticmethod
    def _decode_exactly(codec: Codec, data: bytes, audio: AudioFormat, frames: int) -> Samples:
        if codec is Codec.FLAC:
            return _flac_decode(data, audio, frames)
        if len(data) != frames * audio.frame_bytes:
            raise RemoteProtocolError(f"{len(data)} bytes of PCM are not {frames} frames of {audio}")
        return pcm.samples_from_bytes(data, audio)


def flac_can_hold(audio: AudioFormat, frames: int) -> bool:
    """Return whether FLAC can carry a chunk of this format and length."""
    return (
        audio.sample in _FLAC_BITS
        and frames >= FLAC_FRAMES_MIN
        and (audio.rate <= FLAC_SUBSET_RATE_MAX or audio.rate % 10 == 0)
    )


def _flac_encode(samples: Samples, audio: AudioFormat) -> bytes | None:
    """Return the FLAC frames of the samples, or None where PCM serves better."""
    frames = len(samples)
    if not flac_can_hold(audio, frames):
        return None
    file = io.BytesIO()
    subtype = f"PCM_{_FLAC_BITS[audio.sample]}"
    soundfile.write(file, np.ascontiguousarray(samples), audio.rate, format="FLAC", subtype=subtype)
    coded = file.getvalue()
    block_frames = struct.unpack_from(">HH", coded, 8)
    # The decoder will assume one block size; a libFLAC with another default must not send what others can't read.
    if block_frames != (FLAC_BLOCK_FRAMES, FLAC_BLOCK_FRAMES):
        return None
    body = coded[_flac_header_bytes(coded) :]
    return body if len(body) < frames * audio.frame_bytes else None


def _flac_header_bytes(coded: bytes) -> int:
    position, last = 4, False
    while not last:
        head = int.from_bytes(coded[position : position + 4], "big")
        last = bool(head >> 31)
        position += 4 + (head & 0xFFFFFF)
    return position


def _flac_decode(data: bytes, audio: AudioFormat, frames: int) -> Samples:
    if not flac_can_hold(audio, frames):
        raise RemoteProtocolError(f"FLAC can't hold {frames} frames of {audio}")
    if not 4 <= len(data) < frames * audio.frame_bytes:
        raise RemoteProtocolError(f"{len(data)} bytes of FLAC can't be {frames} frames of {audio}")
    # libsndfile refuses a frame of other channels than the header's, but shifts one of other bits into place.
    if data[:2] != _FLAC_SYNC or data[3] >> 1 & 7 != _FLAC_BITS_CODE[audio.sample]:
        raise RemoteProtocolError(f"a FLAC chunk doesn't begin with a frame of {audio.sample.name}")
    # One frame more is announced and asked for than there may be, so that a longer chunk shows itself.
    header = _flac_header(audio, frames + 1)
    try:
        with SequentialSoundFile(io.BytesIO(header + data)) as file:
            samples: Samples = file.read(frames + 1, dtype=audio.sample.dtype.name, always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise RemoteProtocolError(f"a FLAC chunk can't be decoded: {error}") from error
    if samples.shape != (frames, audio.channels):
        raise RemoteProtocolError(f"a FLAC chunk holds other than {frames} frames")
    return samples


def _flac_header(audio: AudioFormat, frames: int) -> bytes:
    packed = audio.rate << 44 | (audio.channels - 1) << 41 | (_FLAC_BITS[audio.sample] - 1) << 36 | frames
    return struct.pack(">4sIHH6xQ16x", b"fLaC", 0x80_000022, FLAC_BLOCK_FRAMES, FLAC_BLOCK_FRAMES, packed)
