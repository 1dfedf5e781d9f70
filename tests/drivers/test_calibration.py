"""The plan's file, recordings, the source, and the recorder of a calibration."""

import json
import threading

import numpy as np
import pytest
import soundfile

from radiosync.audio.probe import FORMAT, LISTENERS_MAX, make_plan, play
from radiosync.drivers import calibration
from radiosync.drivers.calibration import (
    BYTES_MAX,
    RECORDING_S_MAX,
    Calibration,
    CalibrationSource,
    Recorder,
    read_calibration,
    read_recording,
    write_calibration,
)
from radiosync.errors import RecordingError, SourceError


@pytest.fixture
def told():
    return Calibration(plan=make_plan(2, 3), names=("Bad", "Küche"), offsets_ms=(-12.5, 0.0))


def test_a_plan_comes_back_as_it_was_written(tmp_path, told):
    path = tmp_path / "folder" / "plan.json"
    write_calibration(path, told)
    assert read_calibration(path) == told


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"rate": 0},
        {"rate": "fast"},
        {"markers": []},
        {"turns": [{"frame": 0, "listener": 2}]},
        {"turns": [{"frame": None, "listener": 1}]},
        {"listeners": [{"name": "x", "offset_ms": 0}] * (LISTENERS_MAX + 1)},
        {"listeners": 7},
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, told, change):
    path = tmp_path / "plan.json"
    write_calibration(path, told)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RecordingError, match="is no plan"):
        read_calibration(path)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff\xfe", b" " * BYTES_MAX + b"{}", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, raw):
    path = tmp_path / "plan.json"
    path.write_bytes(raw)
    with pytest.raises(RecordingError, match="is no plan"):
        read_calibration(path)


def test_a_plan_longer_than_the_limit_is_not_read(tmp_path, told):
    path = tmp_path / "plan.json"
    write_calibration(path, told)
    path.write_text(path.read_text() + " " * BYTES_MAX)
    with pytest.raises(RecordingError, match="is no plan"):
        read_calibration(path)


def test_a_plan_that_can_not_be_written_is_a_mistake(tmp_path, told):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="--plan"):
        write_calibration(tmp_path / "file" / "plan.json", told)


@pytest.mark.parametrize(
    ("subtype", "end"), [("PCM_16", "wav"), ("PCM_24", "flac"), ("FLOAT", "wav"), ("VORBIS", "ogg")]
)
def test_the_loudest_channel_is_read(tmp_path, subtype, end):
    path = tmp_path / f"phone.{end}"
    tone = 0.5 * np.sin(np.arange(44_100) * 0.1)
    soundfile.write(path, np.stack([0.1 * tone, tone], axis=1), 44_100, subtype=subtype)
    samples, rate = read_recording(path)
    assert (rate, samples.dtype, samples.shape) == (44_100, np.float32, (44_100,))
    assert np.abs(samples - tone).max() < (0.1 if subtype == "VORBIS" else 1e-4)


def test_a_recording_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "phone.wav"
    soundfile.write(path, np.zeros(8_000 * RECORDING_S_MAX), 8_000, subtype="PCM_U8")
    assert len(read_recording(path)[0]) == 8_000 * RECORDING_S_MAX
    soundfile.write(path, np.zeros(8_000 * RECORDING_S_MAX + 1), 8_000, subtype="PCM_U8")
    with pytest.raises(RecordingError, match="longer than 15 minutes"):
        read_recording(path)


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "phone.m4a").write_text("this is none")
    with pytest.raises(SourceError):
        read_recording(tmp_path / "phone.m4a")


def test_the_source_waits_for_a_plan_and_plays_it_once():
    source, blocks = CalibrationSource(), []

    def read():
        while (block := source.read(10_000)) is not None:
            blocks.append(block)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    assert not blocks
    plan = make_plan(1, 2)
    source.begin(plan)
    thread.join(10)
    assert not thread.is_alive()
    assert np.array_equal(np.concatenate([block.samples for block in blocks]), play(plan))
    assert [block.song_frame for block in blocks] == list(range(0, plan.frames, 10_000))


def test_a_source_without_a_plan_can_be_interrupted():
    source = CalibrationSource()
    source.interrupt()
    assert source.read(100) is None


class FakeCapture:
    """Hands out blocks of ones, of twos, and so on, when it is told to."""

    def __init__(self, *_):
        self.format = FORMAT
        self.lost = 0
        self.more = threading.Semaphore(0)
        self.number = 0
        self.stopped = False

    def read(self, frames_max):
        self.more.acquire()
        if self.stopped:
            return None
        self.number += 1
        return type("Block", (), {"samples": np.full((10, 1), self.number, np.float32)})

    def stats(self):
        names = ("source_xruns", "source_overflow_frames", "source_stale_frames", "source_reopened")
        return dict.fromkeys(names, 0) | {"source_xruns": self.lost}

    def interrupt(self):
        self.stopped = True
        self.more.release()

    def close(self):
        pass


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(calibration, "CaptureSource", FakeCapture)
    recorder = Recorder("device", print)
    yield recorder
    recorder.close()


def test_what_comes_between_begin_and_end_is_recorded(recorder):
    source = recorder._source
    source.lost = 3  # before: that does no harm
    source.more.release()
    while source.number < 1:
        threading.Event().wait(0.001)
    recorder.begin()
    while not recorder._blocks:
        source.more.release()
        threading.Event().wait(0.001)
    recorded = recorder.end()
    assert len(recorded) % 10 == 0
    assert (np.diff(recorded[::10]) == 1).all()


def test_a_recording_with_gaps_is_refused(recorder):
    recorder.begin()
    recorder._source.lost = 1
    with pytest.raises(RecordingError, match="gaps"):
        recorder.end()
