"""The configuration: defaults, files, options, and one clear line for each mistake."""

import re
import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiosync.audio.format import CHANNELS_MAX, RATE_MAX, RATE_MIN
from radiosync.config import Config, HostConfig, ListenerConfig, NetworkConfig, RadioSyncConfig, all_keys
from radiosync.config_rules import Number, Whole
from radiosync.errors import ConfigError
from radiosync.wire.codec import DATAGRAM_MAX

CONFIGS = Path(__file__).parents[1] / "configs"
SECTIONS = {
    "radio_sync": RadioSyncConfig,
    "network": NetworkConfig,
    "host": HostConfig,
    "listener": ListenerConfig,
}


def load_text(tmp_path: Path, text: str | bytes) -> Config:
    path = tmp_path / "party.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Config.load(path)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """Return the message a file is refused with; it must be one line that names the file."""
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    message = str(caught.value)
    assert message.isprintable(), "one line, nothing that moves a terminal's cursor"
    assert message.startswith(str(tmp_path / "party.toml") + ": ")
    assert len(message) < len(str(tmp_path)) + 300
    return message.removeprefix(str(tmp_path / "party.toml") + ": ")


def rule_of(section: type, name: str) -> Number | Whole:
    return next(key.metadata["rule"] for key in fields(section) if key.name == name)


def refusal_of_options(overrides: dict[str, object]) -> str | None:
    try:
        Config.load(None, overrides)
    except ConfigError as error:
        return str(error)
    return None


# The files in configs/ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    Config.load(path)


def test_there_are_examples() -> None:
    assert {path.name for path in CONFIGS.glob("*.toml")} >= {
        "default.toml",
        "wired-house.toml",
        "wifi-party.toml",
        "live-line-in.toml",
    }


def test_default_file_is_the_built_in_defaults() -> None:
    assert Config.load(CONFIGS / "default.toml") == Config() == Config.load()


def test_default_file_says_every_key_with_its_range() -> None:
    text = (CONFIGS / "default.toml").read_text()
    written = tomllib.loads(text)
    assert [f"{section}.{key}" for section, table in written.items() for key in table] == all_keys()
    for name, section in SECTIONS.items():
        body = text.split(f"\n[{name}]\n\n")[1]
        for key in fields(section):
            # The comment over a key, or over the group of keys it stands in.
            comment = re.split(rf"(?m)^{key.name} = ", body)[0].rpartition("\n\n")[2]
            assert comment.startswith("#"), f"{name}.{key.name} is not explained"
            rule = key.metadata["rule"]
            if isinstance(rule, Number | Whole):
                assert f"{rule.low:.16g} to {rule.high:.16g}" in comment, f"{name}.{key.name}: range"


def test_the_keys_of_radio_sync() -> None:
    assert [key.name for key in fields(RadioSyncConfig)] == [
        "buffer_duration",
        "buffer_max",
        "chunk_duration",
        "safety_margin",
        "max_client_latency",
        "latency_samples",
        "ping_interval",
        "sync_tolerance",
        "resync_threshold",
        "underrun_policy",
        "underrun_share",
        "slow_client_timeout",
        "enable_compression",
        "adaptive_quality",
        "predictive_buffering",
    ]


# What a good configuration becomes ------------------------------------------------------------------------------------


def test_durations_in_nanoseconds() -> None:
    sync = Config().radio_sync
    assert (sync.buffer_ns, sync.chunk_ns, sync.safety_ns) == (45_000_000_000, 500_000_000, 5_000_000_000)
    assert (sync.max_client_latency_ns, sync.ping_ns) == (2_000_000_000, 1_000_000_000)
    assert (sync.tolerance_ns, sync.resync_ns, sync.slow_client_ns) == (2_000_000, 5_000_000, 30_000_000_000)
    host = HostConfig(start_lead=1.5, history_linger=0.25)
    assert (host.start_lead_ns, host.linger_ns) == (1_500_000_000, 250_000_000)
    listener = ListenerConfig(offset_ms=-12.5, render_ahead=0.1)
    assert (listener.offset_ns, listener.render_ahead_ns) == (-12_500_000, 100_000_000)


def test_ports_follow_one_another() -> None:
    network = NetworkConfig(port=5000)
    assert (network.port, network.control_port, network.clock_port) == (5000, 5001, 5002)


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    config = load_text(tmp_path, "[radio_sync]\nping_interval = 2\n[host]\nloop = true\n")
    assert config == Config(radio_sync=RadioSyncConfig(ping_interval=2.0), host=HostConfig(loop=True))
    assert isinstance(config.radio_sync.ping_interval, float), "a whole number is good where a number is wanted"


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[network]\nport = 5000\nttl = 3\n")
    config = Config.load(path, {"network.port": 6000, "network.group": None, "listener.volume": 50})
    assert config.network == NetworkConfig(port=6000, ttl=3), "None is an option that was not given"
    assert config.listener.volume == 50


def test_a_byte_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    assert load_text(tmp_path, "") == Config()
    assert load_text(tmp_path, "[listener]\n[host]\n\r\n[network]\n") == Config()


@pytest.mark.parametrize("buffer_s", [0.1, 0.3, 1, 2, 5, 7.7, 20, 45, 120])
def test_a_short_buffer_needs_no_second_option(buffer_s: float) -> None:
    config = Config.load(None, {"radio_sync.buffer_duration": buffer_s})
    assert config.radio_sync.buffer_duration == buffer_s
    assert config.radio_sync.chunk_duration <= 0.5
    assert config.host.start_lead == HostConfig().start_lead, "a start is prepared, however short the buffer"
    if buffer_s >= 20:  # long enough for every default
        assert config == Config(radio_sync=RadioSyncConfig(buffer_duration=float(buffer_s)))


@pytest.mark.parametrize(("buffer_s", "chunk_s"), [(0.1, 0.01), (0.3, 0.03), (2, 0.2), (5, 0.5), (45, 0.5)])
def test_chunks_are_a_tenth_of_the_buffer_at_most(buffer_s: float, chunk_s: float) -> None:
    sync = Config.load(None, {"radio_sync.buffer_duration": buffer_s}).radio_sync
    assert sync.chunk_ns_at(sync.buffer_ns) == round(chunk_s * 1e9)
    assert sync.chunk_ns_at(4 * sync.buffer_ns) <= sync.chunk_ns
    asked = Config.load(None, {"radio_sync.buffer_duration": buffer_s, "radio_sync.chunk_duration": 0.005}).radio_sync
    assert asked.chunk_ns_at(asked.buffer_ns) == 5_000_000


def test_how_deep_a_buffer_may_become_depends_on_the_source() -> None:
    for keys, file_s, live_s in (
        ({}, 45.0, 180.0),
        ({"radio_sync.buffer_duration": 0.3}, 45.0, 1.2),
        ({"radio_sync.buffer_duration": 60}, 60.0, 240.0),
        ({"radio_sync.buffer_duration": 2, "radio_sync.buffer_max": 3}, 3.0, 3.0),
    ):
        sync = Config.load(None, keys).radio_sync
        assert (sync.buffer_max_ns(live=False), sync.buffer_max_ns(live=True)) == (file_s * 1e9, live_s * 1e9)


def test_a_start_may_be_prepared_for_longer_than_the_buffer() -> None:
    config = Config.load(None, {"host.start_lead": 46})
    assert (config.host.start_lead, config.radio_sync.buffer_duration) == (46.0, 45.0)


def test_a_short_buffer_leaves_what_was_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"safety_margin = 5 s: .* more than radio_sync\.buffer_duration = 3 s"):
        Config.load(None, {"radio_sync.buffer_duration": 3, "radio_sync.safety_margin": 5})


@pytest.mark.parametrize(
    ("codec", "compress", "effective"),
    [
        ("auto", True, "flac"),
        ("auto", False, "pcm"),
        ("pcm", True, "pcm"),
        ("pcm", False, "pcm"),
        ("flac", True, "flac"),
    ],
)
def test_codec_in_effect(codec: str, compress: bool, effective: str) -> None:
    config = Config(radio_sync=RadioSyncConfig(enable_compression=compress), host=HostConfig(codec=codec))
    assert config.codec == effective


@pytest.mark.parametrize("output", ["device", "device:3", "device:USB: Audio", "wav:/tmp/a b.wav", "pipe:-", "null"])
def test_outputs(output: str) -> None:
    assert ListenerConfig(output=output).output == output


def test_limits_agree_with_the_parts_that_live_by_them() -> None:
    assert rule_of(NetworkConfig, "datagram_max").high == DATAGRAM_MAX
    rate, channels = rule_of(HostConfig, "rate"), rule_of(HostConfig, "channels")
    assert (rate.low, rate.high, channels.high) == (RATE_MIN, RATE_MAX, CHANNELS_MAX)


def test_sections_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().host.loop = True  # type: ignore[misc]


# What is refused, and with which words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[radio_sync]\nbufer_duration = 3",
            'unknown key "radio_sync.bufer_duration"; did you mean "buffer_duration"?',
        ),
        ("[host]\nCodec = 'pcm'", 'unknown key "host.Codec"; did you mean "codec"?'),
        ("[host]\nttl = 1", 'unknown key "host.ttl"; it belongs under [network]'),
        ("[radiosync]", 'unknown section "radiosync"; did you mean "radio_sync"?'),
        ("[radio-sync]\nttl = 1", 'unknown section "radio-sync"; did you mean "radio_sync"?'),
        ("ping_interval = 3", 'key "ping_interval" stands outside of every section; it belongs under [radio_sync]'),
        (
            "volumes = 3",
            'key "volumes" stands outside of every section; did you mean "listener.volume"?',
        ),
        ("network = 3", '"network" is a section and takes no value; write [network]'),
        ("[[host]]\nloop = true", '"host" is a section and takes no value; write [host]'),
        (
            "[radio_sync]\nbuffer_duration = 500",
            "radio_sync.buffer_duration = 500: must be a number from 0.1 to 120 (s)",
        ),
        (
            "[radio_sync]\nbuffer_duration = '45'",
            'radio_sync.buffer_duration = "45": must be a number from 0.1 to 120 (s)',
        ),
        (
            "[radio_sync]\nbuffer_duration = nan",
            "radio_sync.buffer_duration = nan: must be a number from 0.1 to 120 (s)",
        ),
        (
            "[radio_sync]\nchunk_duration = true",
            "radio_sync.chunk_duration = true: must be a number from 0.005 to 2 (s)",
        ),
        (
            "[radio_sync]\nlatency_samples = 2.5",
            "radio_sync.latency_samples = 2.5: must be a whole number from 1 to 1000 (samples)",
        ),
        ("[radio_sync]\nadaptive_quality = 1", "radio_sync.adaptive_quality = 1: must be true or false"),
        ("[network]\nport = 70000", "network.port = 70000: must be a whole number from 1 to 65533"),
        ("[network]\nport = true", "network.port = true: must be a whole number from 1 to 65533"),
        (
            "[host]\nrate = 3",
            "host.rate = 3: must be a whole number from 8000 to 192000 (Hz), or 0 for the first song's",
        ),
        ("[host]\ncodec = 'mp3'", 'host.codec = "mp3": must be one of "auto", "flac", "pcm"'),
        ("[host.codec]\nname = 'mp3'", 'host.codec = {\'name\': \'mp3\'}: must be one of "auto", "flac", "pcm"'),
        (
            "[listener]\noutput = 'wav:'",
            'listener.output = "wav:": must be one of "device", "device:NAME-OR-INDEX", "wav:PATH", "pipe:-", "null"',
        ),
        (
            '[listener]\nname = "a\\u001b[2J\\nb"',
            'listener.name = "a\\x1b[2J\\nb": must be printable text of at most 63',
        ),
    ],
)
def test_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    "group",
    [
        "192.168.1.1",
        "240.0.0.1",
        "224.0.0.251",
        "232.1.1.1",
        "ff02::1",
        "ff02::fb",
        "ff35::1",
        "ff10::5253",
        "fd00::1",
        "239.255.77",
        "239.255.77.77:5",
        "",
        7,
    ],
)
def test_group_must_be_usable_multicast(group: object) -> None:
    with pytest.raises(ConfigError, match=r"^option: network.group = .*: must be a multicast address"):
        Config.load(None, {"network.group": group})


@pytest.mark.parametrize(
    ("text", "line"), [("[host]\nloop = yes\n", 2), ("[host\n", 1), ("[host]\n\nloop = true\nloop = true\n", 4)]
)
def test_bad_toml_names_the_line(tmp_path: Path, text: str, line: int) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith("not valid TOML: ")
    assert f"(at line {line}" in message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"[host]\n# caf\xe9\n") == "not valid TOML: not UTF-8 text (at line 2)"
    assert "not valid TOML" in refusal(tmp_path, b"a = " + b"[" * 100_000)


@pytest.mark.parametrize("value", [" = " + "1" * 5000, " = 0x" + "f" * 5000, 3000 * ".a" + " = 1"])
def test_values_too_long_to_be_shown(tmp_path: Path, value: str) -> None:
    """Python turns no number of more than 4300 digits into text or back, and nothing nested as deeply."""
    message = refusal(tmp_path, f"[network]\nport{value}")
    assert message.isprintable()
    assert len(message) < 200


def test_unreadable_file(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: can't read the configuration: {reason}"):
            Config.load(path)


@pytest.mark.parametrize("key", ["network.porrt", "porrt", "netwrok.port", ""])
def test_unknown_option_key(key: str) -> None:
    with pytest.raises(ConfigError, match=r"^option: unknown (key|section)"):
        Config.load(None, {key: 1})


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"radio_sync.buffer_duration": 1, "radio_sync.chunk_duration": 1}, "two chunks must fit into"),
        (
            {"radio_sync.buffer_max": 44},
            "radio_sync.buffer_max = 44 s: must not be less than radio_sync.buffer_duration",
        ),
        ({"radio_sync.safety_margin": 44}, "radio_sync.safety_margin = 44 s: with max_client_latency"),
        ({"radio_sync.max_client_latency": 30_000, "radio_sync.safety_margin": 20}, "more than radio_sync.buffer_dur"),
        ({"radio_sync.sync_tolerance": 5}, "radio_sync.sync_tolerance = 5 ms: must be less than"),
        ({"radio_sync.slow_client_timeout": 2}, "must be at least three times radio_sync.ping_interval = 1 s"),
        ({"host.repair_share": 9}, "host.repair_share = 9: must not exceed host.repair_share_total = 8"),
        ({"host.codec": "flac", "radio_sync.enable_compression": False}, "contradicts radio_sync.enable_compression"),
    ],
)
def test_keys_that_contradict_each_other(overrides: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.load(None, overrides)
    assert named in str(caught.value)


def test_contradiction_in_a_file_names_the_file(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[radio_sync]\nsync_tolerance = 100\n")
    assert message == "radio_sync.sync_tolerance = 100 ms: must be less than radio_sync.resync_threshold = 5 ms"


def test_values_built_in_code_are_held_to_the_same_limits() -> None:
    with pytest.raises(ConfigError, match=r"^host\.fill_rate = 1: must be a number from 1\.1 to 64"):
        HostConfig(fill_rate=1)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80) | st.lists(st.integers())


@given(st.sampled_from(all_keys()), values)
def test_any_value_is_accepted_or_refused_in_one_line(key: str, value: object) -> None:
    message = refusal_of_options({key: value})
    assert message is None or (message.isprintable() and key in message)


@given(st.dictionaries(st.text(max_size=20), values, max_size=3))
def test_any_key_is_refused_in_one_line(overrides: dict[str, object]) -> None:
    message = refusal_of_options(overrides)
    unknown = {key for key, value in overrides.items() if value is not None} - set(all_keys())
    assert message.isprintable() if message is not None else not unknown
