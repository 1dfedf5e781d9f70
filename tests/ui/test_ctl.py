"""What `ctl` says of a host's answer."""

from typing import Any

import pytest

from radiosync.errors import UserError
from radiosync.ui import ctl

ROW: dict[str, Any] = {
    "name": "kitchen",
    "status": "active",
    "state": "muted",
    "copied": False,
    "tier": 0,
    "latency_ms": 1.0,
    "sync_error_ns": 3_000_000,
    "buffer_s": 0.4,
    "out_of_sync": False,
    "probation_s": 0.0,
}
STATUS: dict[str, Any] = {
    "state": "paused",
    "song": None,
    "buffer_target_s": 45.0,
    "buffer_reason": "as configured",
    "waiting_for": [],
    "waiting_s": None,
    "listeners": [ROW],
    "refusal": None,
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    status = dict(STATUS)
    monkeypatch.setattr(ctl, "_ask", lambda _url, _order: status)
    return status


def test_whom_everybody_waits_for_is_said(answers: dict[str, Any]) -> None:
    assert not any("waiting" in line for line in ctl.run_ctl("status", None, None, as_json=False))
    answers |= {"waiting_for": ["kitchen", "cellar"], "waiting_s": 6.4}
    lines = ctl.run_ctl("status", None, None, as_json=False)
    assert lines[2] == "  waiting for kitchen, cellar, up to 6 s more"


def test_who_is_out_of_sync_or_on_probation_is_said(answers: dict[str, Any]) -> None:
    answers["listeners"] = [ROW | {"out_of_sync": True, "probation_s": 240.0}]
    lines = ctl.run_ctl("status", None, None, as_json=False)
    assert lines[2].endswith("0 s buffered, out of sync, not waited for during 240 s more")


def test_who_listens_to_a_lower_quality_is_said(answers: dict[str, Any]) -> None:
    answers["listeners"] = [ROW | {"tier": 2}, ROW | {"tier": 7}]
    lines = ctl.run_ctl("status", None, None, as_json=False)
    assert lines[2].endswith("0 s buffered, opus high")
    assert lines[3].endswith("0 s buffered, tier 7")


def test_who_is_served_a_copy_is_said(answers: dict[str, Any]) -> None:
    answers["listeners"] = [ROW | {"copied": True}]
    assert ctl.run_ctl("status", None, None, as_json=False)[2].endswith("0 s buffered, copied by unicast")


def test_a_refused_order_is_an_error_with_the_reason(answers: dict[str, Any]) -> None:
    answers["refusal"] = "the last one was 2 s ago"
    with pytest.raises(UserError, match=r"^ctl resync: the last one was 2 s ago$"):
        ctl.run_ctl("resync", None, None, as_json=False)
