"""Rooms for calibrations: what a microphone hears of loudspeakers whose delays are known exactly."""

import numpy as np

from radiosync.audio.probe import FORMAT, LEVEL, SWEEP_AT_S, Plan, sweep

RATE = FORMAT.rate


def sweep_at(begin_s, rate, size, *, falling):
    """Return a sweep that begins at a fraction of a sample, in a signal of `size` frames; by its spectrum's phase."""
    n = 1 << (size + 2 * RATE).bit_length()
    spectrum = np.fft.rfft(sweep(rate, falling=falling), n)
    shift = np.exp(-2j * np.pi * np.fft.rfftfreq(n) * begin_s * rate)
    return np.fft.irfft(spectrum * shift, n)[:size]


def reverberation(rng, rate, *, rt60_s=0.5, direct=1.0, tail=0.3):
    """Return a room's response: direct sound, eight strong early reflections, and a tail that decays."""
    response = np.zeros(round(1.2 * rt60_s * rate))
    for seconds, strength in zip(rng.uniform(0.0006, 0.03, 8), rng.uniform(0.4, 0.9, 8), strict=True):
        response[round(seconds * rate)] += strength * rng.choice((-1, 1))
    response[0] = direct
    t = np.arange(len(response)) / rate
    tail_of = rng.standard_normal(len(response)) * 10 ** (-3 * t / rt60_s)
    tail_of[: round(0.001 * rate)] = 0
    return response + tail_of * tail / np.sqrt(rate / 1000)


def record(
    plan: Plan, delays_s, *, rate=RATE, ppm=0.0, rooms=None, levels=None, muted=(), disobedient=None, before_s=3.0
):
    """Return what a recorder hears that starts `before_s` seconds ahead of the stream's first frame.

    `rate` is what it claims, its clock `ppm` faster.  `delays_s` are the listeners'; those of `muted` never play, those
    of `disobedient` also in everybody else's turns, up to the frame that it gives for each.
    """
    true_rate = rate * (1 + ppm * 1e-6)
    length = round(2.0 * true_rate)
    size = round((plan.frames / plan.rate + before_s) * true_rate) + length
    out = np.zeros(size)
    for number, delay_s in enumerate(delays_s):
        if number in muted:
            continue
        own = np.zeros(size)
        until = (disobedient or {}).get(number, 0)
        turns = [t.frame for t in plan.turns if t.listener == number or t.frame < until]
        for frames, falling in ((turns, False), (plan.markers, True)):
            for frame in frames:
                at = (before_s + frame / plan.rate + SWEEP_AT_S + delay_s) * true_rate
                whole = int(at // 1)
                own[whole : whole + length] += sweep_at((at - whole) / true_rate, true_rate, length, falling=falling)
        if rooms is not None:
            n = 1 << (size + len(rooms[number])).bit_length()
            own = np.fft.irfft(np.fft.rfft(own, n) * np.fft.rfft(rooms[number], n), n)[:size]
        out += own * (1.0 if levels is None else levels[number])
    return (out * LEVEL).astype(np.float32)


def noisy(recording, rng, snr_db):
    """Return a recording with white noise so far below a sweep's own level."""
    return (recording + rng.standard_normal(len(recording)) * LEVEL / np.sqrt(2) * 10 ** (-snr_db / 20)).astype(
        np.float32
    )
