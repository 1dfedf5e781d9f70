import pytest

from radiosync.errors import ConfigError
from radiosync.sim.link import LinkSettings
from radiosync.sim.scenario import Scenario

GOOD = """
title = "t"
[stream]
songs_s = [1.0, 2.0]
[config.radio_sync]
buffer_duration = 3.0
[[listeners]]
name = "a"
down = { loss = 0.5 }
dac = { skew_ppm = 12.0 }
[[faults]]
kind = "outage"
at_s = 1.0
listeners = ["a"]
[limits]
nacks_max = 7
"""


def load(tmp_path, text):
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    return Scenario.load(path)


def test_a_file_is_read_whole(tmp_path):
    scenario = load(tmp_path, GOOD)
    assert scenario.stream.song_frames == (8000, 16_000)
    assert scenario.settings.radio_sync.buffer_duration == 3.0
    (group,) = scenario.listeners
    assert group.down == LinkSettings(loss=0.5)
    assert group.dac is not None
    assert group.dac.skew_ppm == 12.0
    assert scenario.faults[0].listeners == ("a",)
    assert scenario.limits.nacks_max == 7


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("loss = 0.5", "los = 0.5", 'listeners.down.los"'),
        ("nacks_max", "nack_max", 'limits.nack_max"'),
        ('kind = "outage"', 'kind = "outrage"', "outrage"),
        ("at_s = 1.0", "", 'faults.at_s"'),
        ("buffer_duration = 3.0", "buffer_duration = -3.0", "buffer_duration"),
        ("songs_s", 'sample = "s17"\nsongs_s', "S17"),
        ("songs_s", "rate = 7\nsongs_s", "rate 7"),
        ('title = "t"', "title = ", "line"),
        ('name = "a"', 'name = "a"\nhears = "somebody"', "somebody"),
        ('name = "a"', 'name = "a"\nhears = "neighbour"', '"neighbour" is missing'),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, old, new, named):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, GOOD.replace(old, new))
    message = str(raised.value)
    assert named in message
    assert "s.toml" in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        Scenario.load(tmp_path / "nowhere.toml")
