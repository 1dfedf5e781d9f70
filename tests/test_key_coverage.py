"""Each key of the configuration and each limit of the sessions has a test that fails where it is ignored.

The tables name the tests; here it is checked only that they are complete, and that the tests exist.  That each of them
fails is what `tools/mutate_keys.py` tries out: it ignores one after the other and runs the test named for it.
"""

import ast
from pathlib import Path

import pytest

from radiosync.config import all_keys

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "radiosync"
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
    "radio_sync.underrun_policy": "host/test_stall.py::test_everybody_pauses_and_goes_on_only_if_that_is_the_policy",
    "radio_sync.underrun_share": "host/test_stall.py::test_underrun_share_is_how_many_must_be_low",
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
    "host.copies_max": "sim/test_reach.py::test_no_more_are_served_than_the_host_means_to",
    "host.control": f"{DRIVERS}::test_control_is_where_orders_are_taken",
    "host.history_linger": f"{HOST}::test_history_linger_is_how_long_a_chunk_is_kept",
    "host.remember": "drivers/test_host_state.py::test_remember_is_whether_anything_is_left",
    "listener.name": f"{DRIVERS}::test_name_is_what_a_listener_is_called",
    "listener.host": f"{DRIVERS}::test_host_is_asked_instead_of_the_group",
    "listener.output": f"{DRIVERS}::test_output_is_where_the_music_goes",
    "listener.volume": "drivers/test_device_sink.py::test_the_volume_is_the_loudness",
    "listener.offset_ms": f"{LISTENER}::test_offset_ms_is_how_much_later_a_listener_plays",
    "listener.remember": "drivers/test_memory_file.py::test_remember_is_whether_anything_is_kept",
    "listener.render_ahead": "drivers/test_device_sink.py::test_render_ahead_is_how_much_is_rendered_ahead",
}

LIMITS = {
    "clock.poller:ANSWERED_MAX": "clock/test_poller.py::test_the_memory_of_answered_questions_is_bounded",
    "clock.poller:LEAST_NS_MAX": "clock/test_poller.py::test_no_host_makes_it_ask_more_rarely_than_can_be_configured",
    "clock.poller:OPENING_COUNT_MAX": "clock/test_poller.py::test_the_opening_lasts_until_the_clock_is_settled",
    "clock.poller:UNANSWERED_COUNT_MAX": "clock/test_poller.py::test_a_host_that_does_not_answer_is_not_asked_for_long",
    "clock.poller:OUTSTANDING_MAX": "clock/test_poller.py::test_the_table_of_questions_is_bounded",
    "clock.poller:REPLY_NS_MAX": (
        "clock/test_poller.py::test_duplicates_late_and_unknown_answers_are_counted_and_dropped"
    ),
    "clock.poller:SILENCE_NS_MAX": "clock/test_poller.py::test_however_long_the_silence_the_next_burst_is_never_far",
    "clock.poller:UNANSWERED_MAX": "clock/test_poller.py::test_silence_brings_bursts_ever_more_rarely",
    "host.adapt:NAMES_MAX": "host/test_adapt.py::test_many_names_are_counted",
    "host.announcer:SONGS_ANNOUNCED_MAX": "host/test_announcer.py::test_the_song_that_plays_and_the_next_are_told",
    "host.announcer:SONGS_MAX": "host/test_announcer.py::test_songs_are_bounded_and_the_oldest_goes",
    "host.buffers:CHUNKS_AHEAD_MAX": "host/test_buffers.py::test_it_asks_for_the_buffer_and_two_chunks_more",
    "host.capture:CORRECTION_MAX": (
        "host/test_capture.py::test_a_crystal_beyond_belief_is_followed_as_far_as_the_resampler_goes"
    ),
    "host.capture:ERROR_NS_MAX": (
        "host/test_capture.py::test_a_crystal_beyond_belief_is_followed_as_far_as_the_resampler_goes"
    ),
    "host.capture:RATE_OFF_MAX": (
        "host/test_capture.py::test_a_crystal_beyond_belief_is_followed_as_far_as_the_resampler_goes"
    ),
    "host.continuity:MARKS_MAX": "host/test_continuity.py::test_marks_are_bounded_and_the_newest_stay",
    "host.coordinator:RENDER_LEAD_MAX_NS": "host/test_session.py::test_nobody_holds_up_a_start_for_ever",
    "host.copies:COPIES_PER_IP_MAX": "host/test_copies.py::test_so_many_are_served_and_so_many_at_one_address",
    "host.copies:COPIES_PER_S_MAX": "host/test_copies.py::test_all_together_stay_within_a_budget_which_they_share",
    "host.copies:QUEUED_MAX": (
        "host/test_copies.py::test_a_full_queue_loses_the_newest_and_counts_it_and_a_jump_empties_it"
    ),
    "host.listeners:NEWCOMERS_MAX": (
        "host/test_claims.py::test_who_speaks_once_and_is_gone_counts_for_nothing_where_there_are_many"
    ),
    "host.intervals:CLOCK_NS_MAX": "host/test_intervals.py::test_hundreds_of_listeners_ask_the_clock_so_often_at_most",
    "host.intervals:REPORT_NS_MAX": (
        "host/test_intervals.py::test_a_report_never_comes_later_than_it_takes_to_notice_that_somebody_has_gone"
    ),
    "host.ladder:ASKED_MAX": "host/test_ladder.py::test_asking_has_a_limit",
    "host.ladder:ASKERS_MAX": "host/test_ladder.py::test_who_asks_for_the_same_is_remembered_up_to_a_limit",
    "host.listeners:ASKED_MAX": (
        "host/test_far_listeners.py::test_the_list_of_questions_is_bounded_and_ends_with_the_start"
    ),
    "host.listeners:LISTENERS_MAX": (
        "host/test_listeners.py::test_a_full_table_refuses_newcomers_and_keeps_who_is_there"
    ),
    "host.listeners:ROWS_PER_MACHINE_MAX": (
        "host/test_listeners.py::test_a_machine_whose_listeners_all_stay_has_room_for_no_more"
    ),
    "host.listeners:GIVE_WAY_MAX": "host/test_listeners.py::test_so_many_give_way_at_once",
    "host.outbox:ANSWERS_PER_S_MAX": "host/test_outbox.py::test_answers_are_limited_and_what_is_for_all_is_not",
    "host.outbox:SENT_PER_S_MAX": "host/test_outbox.py::test_everything_stays_within_one_limit_music_first",
    "host.outbox:URGENT_MAX": "host/test_outbox.py::test_of_too_much_to_say_the_oldest_goes",
    "host.neighbours:NONCES_MAX": "host/test_neighbours.py::test_old_questions_are_forgotten",
    "host.neighbours:TOLD_MAX": "host/test_neighbours.py::test_so_many_are_named_and_no_more",
    "host.pacer:DATAGRAMS_PER_S_MAX": "host/test_pacer.py::test_no_format_exceeds_what_a_listener_takes_in",
    "host.pacer:GATHER_NS_MAX": "host/test_pacer.py::test_gathering_is_bounded",
    "host.reception:NACKS_PER_S_MAX": "host/test_session.py::test_so_many_nacks_of_one_listener_are_heeded",
    "host.sender:SYMBOLS_PER_NACK_MAX": "host/test_session.py::test_one_nack_makes_a_bounded_amount_of_work",
    "host.stall:LOOK_NS_MAX": "host/test_stall.py::test_a_late_source_and_a_host_that_stood_still_are_the_host_s_fault",
    "host.stall:PAUSES_MAX": "host/test_stall.py::test_one_pause_a_minute_and_three_in_ten_minutes",
    "host.stall:PAUSE_NS_MAX": "host/test_stall.py::test_no_pause_is_longer_than_ten_seconds",
    "host.stall:PROBATION_NS_MAX": "host/test_stall.py::test_two_stalls_are_probation_which_doubles",
    "host.stall:STALLS_MAX": "host/test_stall.py::test_two_stalls_are_probation_which_doubles",
    "host.watch:LOOK_NS_MAX": "host/test_watch.py::test_a_crowd_is_looked_at_less_often_but_every_second",
    "listener.arrival:APART_NS_MAX": "listener/test_arrival.py::test_across_a_long_silence_nothing_is_compared",
    "listener.arrival:JITTER_NS_MAX": "listener/test_arrival.py::test_what_a_liar_sends_stays_within_bounds",
    "listener.discovery:NONCES_MAX": "listener/test_discovery.py::test_old_questions_are_forgotten",
    "listener.exact:BLOCK_FRAMES_MAX": "listener/test_exact.py::test_after_a_long_stall_pieces_stay_small",
    "listener.jitter:DROPPED_MAX": "listener/test_jitter.py::test_of_a_flood_of_dropped_chunks_some_are_forgotten",
    "listener.jitter:BYTES_MAX": "listener/test_jitter.py::test_bytes_are_bounded",
    "listener.jitter:CHUNKS_MAX": (
        "listener/test_jitter.py::test_room_is_made_for_what_is_announced_and_never_taken_away"
    ),
    "listener.jitter:DECODED_MAX": "listener/test_jitter.py::test_few_chunks_stay_decoded",
    "listener.losses:LOOKS_MAX": "listener/test_losses.py::test_more_than_it_can_remember_is_looked_at_later_not_never",
    "listener.memory:KNOWN_SIGMA_MAX": "drivers/test_memory_file.py::test_what_is_hardly_known_is_not_remembered",
    "listener.mute:HOLES_MAX": "listener/test_mute.py::test_the_third_hole_within_five_seconds_mutes",
    "listener.quality:CLIMB_NS_MAX": "listener/test_quality.py::test_the_wait_has_an_end",
    "listener.rate:CALM_MAX": (
        "listener/test_rate.py::test_once_settled_a_better_estimate_is_followed_too_slowly_to_be_heard"
    ),
    "listener.rate:CORRECTION_MAX": "listener/test_rate.py::test_an_error_that_stays_does_not_wind_up",
    "listener.rate:INTEGRAL_MAX": "listener/test_rate.py::test_what_is_learnt_of_the_rate_is_bounded",
    "listener.rate:LESSON_MAX_S": "listener/test_rate.py::test_an_error_of_seconds_teaches_nothing",
    "listener.rate:RELEASE_MAX_PER_S": "listener/test_rate.py::test_correction_and_its_rise_are_bounded_whatever_comes",
    "listener.rate:SLEW_MAX_PER_S": "listener/test_rate.py::test_what_the_feed_forward_leaves_is_nothing",
    "listener.session:REPORT_NS_MAX": "listener/test_session.py::test_no_host_makes_it_fall_silent",
    "listener.reach:BACK_NS_MAX": (
        "listener/test_reach.py::test_a_group_that_fails_again_and_again_is_gone_back_to_ever_later"
    ),
    "listener.reach:REJOIN_NS_MAX": "listener/test_reach.py::test_joining_anew_goes_on_ever_more_rarely",
    "listener.solo:KEPT_MAX": "listener/test_solo.py::test_stretches_are_bounded_and_the_nearest_stay",
    "listener.stream:LEFT_OUT_MAX": "listener/test_stream.py::test_of_many_jumps_the_last_few_are_remembered",
    "listener.stream:SONGS_MAX": "listener/test_stream.py::test_songs_are_bounded",
    "repair.request:SYMBOLS_ASKED_MAX": "repair/test_request.py::test_what_is_asked_fits_a_datagram_and_a_budget",
    "repair.request:WANTS_MAX": "repair/test_request.py::test_too_many_wants_are_refused_and_counted",
    "repair.respond:UNREACHED_PER_S_MAX": "repair/test_respond.py::test_who_is_not_reached_has_another_budget",
    "repair.respond:BUCKETS_MAX": "repair/test_respond.py::test_budgets_are_kept_for_so_many_addresses_only",
    "repair.respond:ASKS_PENDING_MAX": "repair/test_respond.py::test_beyond_capacity_who_asks_most_gives_way",
    "wire.codec:SYMBOL_BYTES_MAX": "wire/test_limits.py::test_symbols_that_no_datagram_holds_are_refused",
    "wire.fields:FRAME_MAX": "wire/test_codec.py::test_values_out_of_range_are_refused",
    "repair.crowd:SCATTERED_MAX": ("repair/test_crowd.py::test_two_who_come_back_from_an_outage_are_not_the_only_ones"),
    "repair.crowd:SEEN_MAX": "repair/test_crowd.py::test_a_flood_of_addresses_takes_no_more_room",
    "repair.rounds:GATHER_NS_MAX": "repair/test_respond.py::test_the_more_time_is_left_the_longer_it_gathers",
    "repair.rounds:RETRY_NS_MAX": "repair/test_request.py::test_it_asks_again_until_the_deadline_and_never_after",
    "repair.rounds:ROUND_NS_MAX": "repair/test_request.py::test_it_waits_for_a_part_of_a_round_then_asks",
    "wire.limits:DATAGRAM_MAX": "wire/test_codec.py::test_the_largest_symbol_fits_a_datagram",
    "wire.limits:NACK_ENTRIES_MAX": (
        "wire/test_codec.py::test_nack_entries_that_ask_for_nothing_or_too_much_are_refused"
    ),
    "wire.limits:NACK_RUN_MAX": "wire/test_codec.py::test_nack_entries_that_ask_for_nothing_or_too_much_are_refused",
    "wire.limits:NAME_MAX": "wire/test_codec.py::test_long_names_are_cut_at_a_whole_character",
    "wire.limits:PARITY_MAX": "wire/test_limits.py::test_a_parity_symbol_beyond_the_last_is_refused",
    "wire.limits:SOLOS_MAX": (
        "wire/test_codec.py::test_stretches_beyond_the_limit_are_refused_and_the_limit_fits_a_datagram"
    ),
    "wire.limits:TAG_MAX": "wire/test_codec.py::test_long_names_are_cut_at_a_whole_character",
    "wire.limits:TIERS_MAX": "wire/test_codec.py::test_values_out_of_range_are_refused",
    "wire.messages:SYMBOLS_MAX": "wire/test_codec.py::test_a_chunk_of_too_many_symbols_is_refused",
    "wire.ntp:PACKET_BYTES_MAX": "wire/test_ntp.py::test_impossible_lengths_are_refused",
}
BACKSTOPS = {
    "listener.rate:ERRORS_MAX": "errors older than two seconds go anyway, which is half as many",
}
"""Limits that nothing can reach, beside those that are; and why."""


def limits_of(path: Path) -> set[str]:
    """Return what a module calls a most, as "folder.module:NAME"."""
    home = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return {f"{home}:{t.id}" for t in targets if isinstance(t, ast.Name) and "MAX" in t.id.split("_")}


def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_key_has_a_test() -> None:
    assert set(KEYS) == set(all_keys()), "name a test for each key in the table above"


def test_every_limit_has_a_test() -> None:
    paths = [path for name in ("host", "listener", "repair", "wire") for path in (PACKAGE / name).rglob("*.py")]
    limits = {limit for path in [*paths, PACKAGE / "clock" / "poller.py"] for limit in limits_of(path)}
    assert limits == set(LIMITS) | set(BACKSTOPS), "name a test for each limit in the table above"


@pytest.mark.parametrize("test", sorted({*KEYS.values(), *LIMITS.values()}))
def test_the_tests_exist(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in names_of_tests(TESTS / path)
