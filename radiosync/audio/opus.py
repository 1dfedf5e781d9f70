"""Code a chunk with Opus (RFC 6716) so that it can be decoded alone, with overlaps for cross-fading, and back.

An encoder that starts with a chunk and ends with it spoils its end: what the codec holds back never comes out.  So some
of the neighbouring audio is coded along, and cropped by the decoder.  Behind the chunk 13.5 ms are needed; with the
encoder's own delay of 6.5 ms they make one packet.  Before it, the 80 ms of RFC 7845 (section 4.6) are for a decoder
that enters in the middle of a stream.  Here encoder and decoder both begin afresh with every chunk, so there is nothing
to converge.  SNR in dB of the demo's tune at 136 kbit/s in chunks of half a second, over the chunk's first 5 ms, its
middle, its last 5 ms and the 5 ms after it (`python tools/bench_tiers.py --rolls`):

    before  after        coded  first  middle  last  after it
      0 ms   0 ms   143 kbit/s   24.9    16.2   0.3         -
         5   13.5          148   22.4    16.3  23.9      23.6
        20   13.5          153   25.1    16.3  22.9      23.0
        80   13.5          170   23.9    16.3  22.9      23.0

20 ms are coded, rather than the 5 ms of the overlap, for the encoder's high-pass filter of 3 Hz, which is the only
memory longer than that: the error of a bass of 40 Hz at the edges is then that of the middle.  Where a neighbour is
missing, the chunk's own beginning or end is mirrored.  The 5 ms next to the chunk are handed out as overlaps, if they
are real.

Opus itself comes from libsndfile, in an OGG container of about 1000 bytes, with a serial number that differs every
time.  The container is cut off, and the decoder builds its own, so nothing in it is under the network's control.  The
coded bytes are, big-endian,

    lead 16 | before 16 | after 16 | skip 16 | packets, each of them: length 16 | Opus packet

with `lead` the frames that are coded before the chunk, `before` and `after` the real ones just before and after it,
all in frames of the stream, and `skip` the encoder's delay in samples at 48 kHz.  Opus works at 48 kHz; other rates are
converted by libsoxr in one piece, which has no delay: frame n of what was coded, lead included, is position
n * 48000 / rate behind `skip`.  Every packet is one frame of 20 ms, which its first byte says (RFC 6716, section 3.1):
so the length is known before anything is decoded, and has to be what `frames` asks for.

Below some 54 kbit/s libopus may take what it holds for speech through its hybrid mode, whose output is 1.8 samples (at
48 kHz) early; above it always takes the CELT mode, which is exact to 0.1 samples.  So `KBPS_MIN` is a lower limit.
"""

import io
import struct
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from radiosync.audio import pcm
from radiosync.audio.format import AudioFormat, Samples
from radiosync.audio.pcm import Frames
from radiosync.errors import RemoteProtocolError
from radiosync.units import NS_PER_MS, frames_from_ns

PRE_ROLL_NS = 20 * NS_PER_MS
POST_ROLL_NS = 27 * NS_PER_MS // 2
OVERLAP_NS = 5 * NS_PER_MS  # what is cross-faded: as short as a fade that doesn't click may be
KBPS_MIN = 56  # see above: libopus decides for hybrid up to 53.6 kbit/s, the less the less it looks like speech
CHANNELS_MAX = 2  # more need several streams in one, in another order (RFC 7845, section 5.1.1.2)
CHUNK_MS_MAX = 4_000  # twice what a host can be set to: with the rolls it bounds what a decoder allocates

_RATE = 48_000
_PACKET_SAMPLES = 960  # 20 ms, what libsndfile's encoder makes
_PACKET_BYTES_MAX = 1275  # of one frame of one stream (RFC 6716, section 3.4)
_PACKETS_SPARE = 2  # that a chunk may have beyond what its frames need
_LEAD_MS_MAX = 200
_SKIP_MAX = 4_800
_HEAD = struct.Struct(">HHHH")
_OGG_PAGE = struct.Struct("<4sBBqIIIB")  # RFC 3533, section 6
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Decoded(NamedTuple):
    """A decoded chunk: its frames, and those that it knows of its neighbours, none if it is coded without loss."""

    before: Samples
    samples: Samples
    after: Samples


def can_hold(audio: AudioFormat, frames: int) -> bool:
    """Return whether Opus can carry a chunk of this format and length."""
    return audio.channels <= CHANNELS_MAX and 0 < frames * 1000 <= CHUNK_MS_MAX * audio.rate


def encode(before: Samples, samples: Samples, after: Samples, audio: AudioFormat, kbps: float) -> bytes:
    """Code a chunk of at least one frame, with the audio next to it as far as it is there.

    `before` ends where the chunk begins, `after` begins where it ends; more than the rolls is not used.
    """
    rate = audio.rate
    lead, tail = frames_from_ns(PRE_ROLL_NS, rate), frames_from_ns(POST_ROLL_NS, rate)
    before, after = before[max(0, len(before) - lead) :], after[:tail]
    need = -(-(lead + len(samples)) * _RATE // rate) + frames_from_ns(POST_ROLL_NS, _RATE)
    skip = _encoder_delay(audio.channels)
    # The stream ends with a whole packet, since a shorter last one would have to be described.
    total = -(-(need + skip) // _PACKET_SAMPLES) * _PACKET_SAMPLES - skip
    known = pcm.float_from_samples(np.concatenate((before, samples, after)), audio.sample)
    missing = -(-total * rate // _RATE) + 1 - lead - len(samples) - len(after)
    block = np.pad(known, ((lead - len(before), missing), (0, 0)), mode="reflect")
    packets = _packets(_write(_resampled(block, rate, _RATE)[:total], kbps))
    overlap = frames_from_ns(OVERLAP_NS, rate)
    head = _HEAD.pack(lead, min(len(before), overlap), min(len(after), overlap), skip)
    return head + b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def decode(data: bytes, audio: AudioFormat, frames: int) -> Decoded:
    """Decode a chunk of exactly `frames` frames.

    Raises RemoteProtocolError for bytes that are not such a chunk.  Damage within a packet can't be told from music:
    the CRC of the datagrams is for that.
    """
    if not can_hold(audio, frames):
        raise RemoteProtocolError(f"{frames} frames of {audio} are no chunk for Opus")
    if len(data) < _HEAD.size:
        raise RemoteProtocolError(f"{len(data)} bytes are no Opus chunk")
    lead, before, after, skip = _HEAD.unpack_from(data)
    if lead * 1000 > _LEAD_MS_MAX * audio.rate or before > lead or after > lead or skip > _SKIP_MAX:
        raise RemoteProtocolError("an Opus chunk announces impossible overlaps")
    need = skip + -(-(lead + frames + after) * _RATE // audio.rate)
    packets_min = -(-need // _PACKET_SAMPLES)
    packets = _split(data, packets_min + _PACKETS_SPARE)
    if len(packets) < packets_min:
        raise RemoteProtocolError(f"{len(packets)} Opus packets are less than {frames} frames of {audio}")
    block = _resampled(_read(packets, audio.channels)[skip:], _RATE, audio.rate)
    end = lead + frames
    if len(block) < end + after:
        raise RemoteProtocolError(f"an Opus chunk holds less than {frames} frames")
    block = pcm.clean_floats(block[lead - before : end + after])
    decoded = pcm.samples_from_float(block, audio.sample)
    return Decoded(decoded[:before], decoded[before : before + frames], decoded[before + frames :])


def _resampled(block: Frames, rate_in: int, rate_out: int) -> Frames:
    if rate_in == rate_out:
        return block
    out: Frames = soxr.resample(np.ascontiguousarray(block), rate_in, rate_out, quality="HQ")
    return out


def _write(block: Frames, kbps: float) -> bytes:
    """Return an OGG file of the block."""
    file = io.BytesIO()
    level = 1 - (kbps / block.shape[1] - 6) / 250  # libsndfile's scale: from 256 down to 6 kbit/s for each channel
    soundfile.write(file, np.ascontiguousarray(block), _RATE, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()


def _packets(ogg: bytes) -> list[bytes]:
    """Return the audio packets of an OGG file that was made here."""
    packets, position, packet = [], 0, b""
    while position < len(ogg):
        segments = ogg[position + 26]
        position += 27 + segments
        for length in ogg[position - segments : position]:
            packet += ogg[position : position + length]
            position += length
            if length < 255:  # RFC 3533, section 5: a shorter segment ends the packet
                packets.append(packet)
                packet = b""
    return packets[2:]  # OpusHead and OpusTags


@cache
def _encoder_delay(channels: int) -> int:
    """Return by how many samples at 48 kHz libopus delays, which the head of its file says (RFC 7845, section 5.1)."""
    ogg = _write(np.zeros((_PACKET_SAMPLES, channels), np.float32), 64.0)
    return int.from_bytes(ogg[28 + 10 : 28 + 12], "little")


def _split(data: bytes, packets_max: int) -> list[bytes]:
    """Return the packets of a coded chunk, each of which is one frame of 20 ms."""
    packets, position = [], _HEAD.size
    while position < len(data):
        length = int.from_bytes(data[position : position + 2], "big")
        packet = data[position + 2 : position + 2 + length]
        position += 2 + length
        if position > len(data) or not 0 < length <= _PACKET_BYTES_MAX or not _is_20_ms(packet[0]):
            raise RemoteProtocolError("an Opus chunk holds something else than packets of 20 ms")
        packets.append(packet)
        if len(packets) > packets_max:
            raise RemoteProtocolError(f"an Opus chunk holds more than {packets_max} packets")
    return packets


def _is_20_ms(toc: int) -> bool:
    """Say whether a packet with this first byte is one frame of 20 ms (RFC 6716, section 3.1)."""
    config, count_code = toc >> 3, toc & 3
    longest = config % 4 == 1 if config < 12 else config % 2 == 1 if config < 16 else config % 4 == 3
    return longest and count_code == 0


def _read(packets: list[bytes], channels: int) -> Frames:
    """Decode packets, by way of an OGG file around them."""
    # No pre-skip, no gain, channels as they are: RFC 7845, sections 5.1 and 5.2.
    pages = [
        _page(b"OpusHead" + struct.pack("<BBHIhB", 1, channels, 0, _RATE, 0, 0), 0, 0, first=True),
        _page(b"OpusTags" + bytes(8), 1, 0),
    ]
    last = len(packets) - 1
    for number, packet in enumerate(packets):
        pages.append(_page(packet, number + 2, (number + 1) * _PACKET_SAMPLES, last=number == last))
    samples = len(packets) * _PACKET_SAMPLES
    try:
        with soundfile.SoundFile(io.BytesIO(b"".join(pages))) as file:
            block: Frames = file.read(samples, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise RemoteProtocolError(f"an Opus chunk can't be decoded: {error}") from error
    if block.shape != (samples, channels):
        raise RemoteProtocolError(f"an Opus chunk holds {len(block)} samples instead of {samples}")
    return block


def _page(packet: bytes, number: int, granule: int, *, first: bool = False, last: bool = False) -> bytes:
    """Return an OGG page with one packet of less than 255 * 255 bytes."""
    lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    head = _OGG_PAGE.pack(b"OggS", 0, 2 * first + 4 * last, granule, 1, number, 0, len(lacing)) + lacing
    checksum = _ogg_crc(head + packet)
    return head[:22] + checksum + head[26:] + packet


def _ogg_crc(data: bytes) -> bytes:
    """Return OGG's CRC-32 as it stands in a page: zlib's polynomial, with the bits the other way round."""
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)
