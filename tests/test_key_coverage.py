"""Each key of the configuration has a test that fails where the key is ignored.

The table names the tests; here it is checked only that it is complete, and that the tests exist.  That each of them
fails is what `tools/mutate_keys.py` tries out: it ignores one key after the other and runs the test named for it.
"""

import ast
from pathlib import Path

import pytest

from radiosync.config import all_keys

TESTS = Path(__file__).parent
HOST, LISTENER, DRIVERS = (f"{folder}/test_configuration.py" for folder in ("host", "listener", "drivers"))

KEYS = {
    "radio_sync.buffer_duration": f"{HOST}::test_buffer_duration_is_how_far_ahead_music_is_sent",
    "radio_sync.buffer_max": f"{HOST}::test_buffer_max_is_how_deep_the_buffer_may_become",
    "radio_sync.chunk_duration": f"{HOST}::test_chunk_duration_is_how_long_a_chunk_is",
    "radio_sync.safety_margin": f"{HOST}::test_safety_margin_is_wanted_beyond_the_slowest_s_latency",
    "radio_sync.max_client_latency": "host/test_slow_listeners.py::test_how_slow_is_slow_is_configured",
    "radio_sync.latency_samples": f"{HOST}::test_latency_samples_are_what_an_average_is_made_of",
    "radio_sync.ping_interval": f"{LISTENER}::test_ping_interval_is_the_time_between_clock_exchanges",
    "radio_sync.sync_tolerance": f"{LISTENER}::test_sync_tolerance_is_what_counts_as_in_sync",
    "radio_sync.resync_threshold": f"{DRIVERS}::test_a_device_is_told_of_resync_threshold_and_the_listener_s_keys",
    "radio_sync.slow_client_timeout": (
        "host/test_slow_listeners.py::test_who_stays_silent_is_forgotten_after_the_configured_time"
    ),
    "radio_sync.enable_compression": f"{DRIVERS}::test_codec_and_enable_compression_are_how_chunks_are_coded",
    "radio_sync.adaptive_quality": "host/test_ladder.py::test_who_forbids_it_offers_nothing",
    "radio_sync.predictive_buffering": f"{DRIVERS}::test_predictive_buffering_opens_the_next_song_ahead",
    "network.group": "drivers/test_udp.py::test_music_that_finds_its_socket_full_holds_up_nothing_urgent",
    "network.port": "drivers/test_udp.py::test_music_that_finds_its_socket_full_holds_up_nothing_urgent",
    "network.interface": f"{DRIVERS}::test_interface_is_where_everything_goes",
    "network.ttl": "drivers/test_udp.py::test_datagrams_are_marked_as_configured",
    "network.dscp_clock": "drivers/test_udp.py::test_datagrams_are_marked_as_configured",
    "network.dscp_audio": "drivers/test_udp.py::test_datagrams_are_marked_as_configured",
    "network.datagram_max": f"{HOST}::test_datagram_max_is_the_longest_datagram",
    "host.codec": f"{DRIVERS}::test_codec_and_enable_compression_are_how_chunks_are_coded",
    "host.rate": f"{DRIVERS}::test_rate_and_channels_are_the_stream_s",
    "host.channels": f"{DRIVERS}::test_rate_and_channels_are_the_stream_s",
    "host.loop": f"{DRIVERS}::test_loop_begins_again_after_the_last_song",
    "host.start_lead": f"{HOST}::test_start_lead_is_the_time_to_the_first_note",
    "host.fill_rate": f"{HOST}::test_fill_rate_is_how_fast_buffers_are_filled",
    "host.repair_share": f"{HOST}::test_repair_share_is_one_listener_s_budget",
    "host.repair_share_total": f"{HOST}::test_repair_share_total_is_everybody_s_budget",
    "host.control": f"{DRIVERS}::test_control_is_where_orders_are_taken",
    "host.history_linger": f"{HOST}::test_history_linger_is_how_long_a_chunk_is_kept",
    "listener.name": f"{DRIVERS}::test_name_is_what_a_listener_is_called",
    "listener.host": f"{DRIVERS}::test_host_is_asked_instead_of_the_group",
    "listener.output": f"{DRIVERS}::test_output_is_where_the_music_goes",
    "listener.volume": "drivers/test_device_sink.py::test_the_volume_is_the_loudness",
    "listener.offset_ms": f"{LISTENER}::test_offset_ms_is_how_much_later_a_listener_plays",
    "listener.remember": "drivers/test_memory_file.py::test_remember_is_whether_anything_is_kept",
    "listener.render_ahead": "drivers/test_device_sink.py::test_render_ahead_is_how_much_is_rendered_ahead",
}


def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_key_has_a_test() -> None:
    assert set(KEYS) == set(all_keys()), "name a test for each key in the table above"


@pytest.mark.parametrize("test", sorted(set(KEYS.values())))
def test_the_tests_exist(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in names_of_tests(TESTS / path)
