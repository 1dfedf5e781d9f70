"""The quality ladder: the same chunk in fewer and fewer bits.

All tiers of a stream have the same chunk boundaries: chunk n covers the same frames in each.  Every chunk can be
decoded alone and says how it is coded, so a listener can step from one tier to another at any chunk.

    LOSSLESS    FLAC, or PCM where FLAC can't hold the format
    REDUCED     FLAC of the samples with their lowest bits rounded away
    OPUS_HIGH   Opus at 136 kbit/s for stereo and 72 for mono, and a little more for what `opus.py` codes along
    OPUS_LOW    Opus at 60 kbit/s; for mono OPUS_HIGH is the last step, since there is no lower rate worth it

REDUCED.  A FLAC subframe whose samples all end in k zero bits is coded without them ("wasted bits", RFC 9639, section
9.2.2).  Rounding to multiples of 2^k adds noise of power 4^k / 12, so for a signal of power P the largest k that leaves
a signal-to-noise ratio of at least S is

    k = floor(log2(sqrt(12 P / 10^(S/10))))

chosen for each of FLAC's blocks of 4096 frames: noise that follows the level every 0.1 s rather than every chunk, for
nothing.  S = 52 dB gives 52 to 58 dB, 55 on the average.  The music then spans hundreds of steps, over which the error
of plain rounding is white and independent of it.  Dither (TPDF, as in `pcm.py`) would add 4.8 dB of noise; to get them
back costs 0.8 bits a sample, 75 kbit/s for stereo.  Noise shaping of first order takes 10 dB from the noise below 6 kHz
and costs no bits, but it goes sample by sample: 16 % of a core, where rounding takes 0.1.  And 55 dB below music at a
comfortable 75 dB SPL is 20 dB: no room is so quiet that it is heard.  So neither is done; `python tools/bench_tiers.py
--rounding` has the figures.

Measured with `python tools/bench_tiers.py`, stereo of 16 bits, chunks of half a second, kbit/s with the headers of all
layers, CPU in percent of one core at 2.5 GHz.  "Tune" is the demo's; "dense" is a chord in pink noise, 14 dB below full
scale, more than most music.  SNR is of the waveform, over all and within 5 ms of the chunks' edges: for Opus, which
gives noise for noise, it says no more than that the edges are no worse than the rest.

                            tune                                  dense
                            kbit/s  code  decode  SNR  edges      kbit/s  code  decode  SNR  edges
    44.1 kHz  LOSSLESS        1040   0.1     0.1    -      -        1330   0.1     0.1    -      -
              REDUCED          618   0.2     0.1   55     55         836   0.2     0.1   57     57
              OPUS_HIGH        173   3.4     0.8   17     23         168   2.6     0.7   14     15
              OPUS_LOW          77   2.4     0.6   13     17          77   2.3     0.6    9     10
    48 kHz    LOSSLESS        1138   0.1     0.1    -      -        1447   0.1     0.1    -      -
              REDUCED          673   0.2     0.1   55     54         909   0.2     0.1   57     57
              OPUS_HIGH        173   3.3     0.7   17     23         168   2.6     0.7   14     14
              OPUS_LOW          77   2.4     0.5   13     17          77   2.2     0.6    9      9

A chunk that a tier doesn't suit goes in another way: what is shorter than an Opus packet, as the last one of a song may
be, goes as REDUCED; and what FLAC can't hold as PCM.
"""

import math
from enum import IntEnum

import numpy as np

from radiosync.audio import opus
from radiosync.audio.codec import FLAC_BLOCK_FRAMES, ChunkCodec, Codec, flac_can_hold
from radiosync.audio.format import AudioFormat, SampleFormat, Samples
from radiosync.units import NS_PER_MS, frames_from_ns

PRE_ROLL_NS, POST_ROLL_NS = opus.PRE_ROLL_NS, opus.POST_ROLL_NS
"""How much of the audio before and after a chunk is wanted to code it."""

SNR_MIN_DB = 52.0  # of REDUCED
OPUS_CHUNK_NS_MIN = 100 * NS_PER_MS  # in chunks of this length the rolls add 40 % to Opus
STEP_MAX = 0.75  # of the tier above: a step that saves less relieves no network and only sounds worse

_OPUS_FRAMES_NS_MIN = 20 * NS_PER_MS  # a packet; below it the rolls cost more than REDUCED does
_REDUCED_BITS = {SampleFormat.S16: 16, SampleFormat.S24: 24}


class Tier(IntEnum):
    """A step of the ladder, the best one first; the value is the code on the wire."""

    LOSSLESS = 0
    REDUCED = 1
    OPUS_HIGH = 2
    OPUS_LOW = 3


_OPUS_KBPS = {Tier.OPUS_HIGH: (72, 136), Tier.OPUS_LOW: (opus.KBPS_MIN, 60)}  # of one channel and of two
# Bits for each sample of dense music, without packets' overhead, and how far Opus exceeds its set rate on it; from
# `python tools/bench_tiers.py`.
_LOSSLESS_BITS = {SampleFormat.S16: 13.4, SampleFormat.S24: 21.4, SampleFormat.S32: 32.0, SampleFormat.F32: 32.0}
_ROUNDED_BITS = 8.4
_OPUS_EXCESS = 1.06
_WIRE_EXCESS = 1228 / 1090  # a datagram of 1200 bytes with its UDP and IP headers carries 1090 of a chunk


def tier_name(tier: int) -> str:
    """Return what to call the tier with this number; a newer host may have others."""
    return Tier(tier).name.lower().replace("_", " ") if tier in set(Tier) else f"tier {tier}"


def tiers_for(audio: AudioFormat, chunk_frames: int) -> tuple[Tier, ...]:
    """Return the tiers that are worth offering for chunks of this length, the best one first.

    LOSSLESS always; REDUCED where FLAC holds the format; Opus for mono and stereo, in chunks that are neither so short
    that its rolls weigh too much nor so long that a decoder refuses them.  None that saves less than a quarter.
    """
    offered = [Tier.LOSSLESS]
    if flac_can_hold(audio, chunk_frames):
        offered.append(Tier.REDUCED)
    long_enough = chunk_frames >= frames_from_ns(OPUS_CHUNK_NS_MIN, audio.rate)
    if long_enough and opus.can_hold(audio, chunk_frames):
        for tier in _OPUS_KBPS:
            if nominal_kbps(tier, audio) <= STEP_MAX * nominal_kbps(offered[-1], audio):
                offered.append(tier)
    return tuple(offered)


def nominal_kbps(tier: Tier, audio: AudioFormat) -> int:
    """Return what a tier takes of a network in kbit/s, headers of all layers down to IP included.

    A figure to plan with: it is measured on the denser piece above, in chunks of half a second.  What is quieter or
    simpler takes less; Opus takes more in shorter chunks, half as much again in those of 0.1 s.
    """
    if tier in _OPUS_KBPS:
        rolls = 1 + (PRE_ROLL_NS + 20 * NS_PER_MS) / (500 * NS_PER_MS)  # with the delay, behind is a packet more
        kbps = _OPUS_KBPS[tier][audio.channels > 1] * _OPUS_EXCESS * rolls
    else:
        bits = _LOSSLESS_BITS[audio.sample]
        if tier is Tier.REDUCED and audio.sample in _REDUCED_BITS:
            bits = _ROUNDED_BITS
        kbps = bits * audio.rate * audio.channels / 1000
    return math.ceil(kbps * _WIRE_EXCESS)


def encode_tier(
    tier: Tier, before: Samples, samples: Samples, after: Samples, audio: AudioFormat
) -> tuple[Codec, bytes]:
    """Code a chunk of a tier and return the codec really used with the bytes.

    `before` is the audio that ends where the chunk begins, `after` what begins where it ends: `PRE_ROLL_NS` and
    `POST_ROLL_NS` of it, or as much as there is, down to nothing.  Shapes (frames, channels).
    """
    if tier in _OPUS_KBPS and opus.can_hold(audio, len(samples)):
        if len(samples) >= frames_from_ns(_OPUS_FRAMES_NS_MIN, audio.rate):
            return Codec.OPUS, opus.encode(before, samples, after, audio, _OPUS_KBPS[tier][audio.channels > 1])
        tier = Tier.REDUCED
    if tier is not Tier.LOSSLESS and flac_can_hold(audio, len(samples)):
        samples = rounded(samples, audio.sample)
    return ChunkCodec().encode(samples, audio, Codec.FLAC)


def rounded(samples: Samples, sample: SampleFormat, snr_min_db: float = SNR_MIN_DB) -> Samples:
    """Return S16 or S24 with their lowest bits rounded away, to the nearest, ties to even, limited to full scale."""
    spare = 8 if sample is SampleFormat.S24 else 0  # S24 is left-justified
    top = 1 << (_REDUCED_BITS[sample] - 1)
    out = samples >> spare
    for start in range(0, len(out), FLAC_BLOCK_FRAMES):
        block = out[start : start + FLAC_BLOCK_FRAMES].astype(np.int32)
        noise = float(np.mean(np.square(block, dtype=np.float64))) * 10 ** (-snr_min_db / 10)
        bits = math.floor(math.log2(12 * noise) / 2) if 12 * noise > 1 else 0
        if bits:
            half = (1 << (bits - 1)) - 1 + (block >> bits & 1)
            block = (block + half) >> bits << bits
            out[start : start + FLAC_BLOCK_FRAMES] = np.minimum(block, top - (1 << bits))
    result: Samples = out << spare
    return result
