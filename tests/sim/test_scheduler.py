from radiosync.sim.scheduler import Scheduler


def test_events_run_in_the_order_of_time_and_then_of_planning():
    scheduler, ran = Scheduler(), []
    for name, at in (("c", 20), ("a", 10), ("d", 20), ("b", 10)):
        scheduler.at(at, lambda name=name: ran.append((name, scheduler.now)))
    scheduler.run(20)
    assert ran == [("a", 10), ("b", 10)], "what is due at the end belongs to the next run"
    scheduler.run(21)
    assert ran[2:] == [("c", 20), ("d", 20)]
    assert scheduler.now == 21


def test_what_is_planned_for_the_past_runs_now():
    scheduler, ran = Scheduler(), []
    scheduler.at(10, lambda: scheduler.at(5, lambda: ran.append(scheduler.now)))
    scheduler.run(11)
    assert ran == [10]


def test_a_cancelled_event_does_not_run():
    scheduler, ran = Scheduler(), []
    event = scheduler.at(10, lambda: ran.append(1))
    event.cancel()
    scheduler.run(100)
    assert not ran
    assert scheduler.ran == 0
