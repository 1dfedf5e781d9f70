import os

import pytest

from radiosync.drivers import priority


def refuse(*_):
    raise PermissionError


def test_real_time_is_taken_where_it_is_allowed(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *a: asked.append(a), raising=False)
    assert priority.raise_priority() == "realtime"
    assert asked[0][:2] == (0, os.SCHED_RR)


def test_else_a_nicer_place_is_taken(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    monkeypatch.setattr(os, "setpriority", lambda *a: asked.append(a), raising=False)
    assert priority.raise_priority() == "nice"
    assert asked == [(os.PRIO_PROCESS, 0, priority.NICE)]


@pytest.mark.parametrize("missing", [True, False])
def test_else_nothing_changes(monkeypatch, missing):
    if missing:
        monkeypatch.delattr(os, "sched_setscheduler", raising=False)
        monkeypatch.delattr(os, "setpriority", raising=False)
    else:
        monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
        monkeypatch.setattr(os, "setpriority", refuse, raising=False)
    assert priority.raise_priority() == "normal"
