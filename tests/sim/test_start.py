"""How soon a listener is ready, and whether it then misses anything."""

from radiosync.sim.network import LinkSettings
from radiosync.sim.run import run_scenario


def test_over_a_network_like_wifi_nobody_misses_the_first_frame(make_scenario):
    link = LinkSettings(delay_ns=800_000, jitter_ns=500_000)
    scenario = make_scenario(5.0, count=10, link=link, from_first_frame=True)
    assert not run_scenario(scenario, 1).violations


def test_with_five_percent_loss_nobody_misses_the_first_frame(make_scenario):
    scenario = make_scenario(5.0, count=20, link=LinkSettings(loss=0.05), from_first_frame=True)
    violations = [v for seed in (0, 1) for v in run_scenario(scenario, seed).violations]
    assert not violations
