"""`radiosync doctor` beside a real host, and without one."""

from pathlib import Path

from party import Party, run, write_song


def verdicts(stdout: str) -> dict[str, str]:
    """Return what was looked at, and the verdict on it."""
    rows = [line.split(":")[0].split(None, 1) for line in stdout.splitlines() if not line.startswith(" ")]
    return {what: verdict for verdict, what in rows}


def test_all_is_well_with_a_host_that_plays(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", 8_000, 1, "PCM_16", 60)
    host = party.host(tmp_path / "song.wav")
    host.wait_line("♪")
    done = run("doctor", *party.place, "--output", "null")
    assert done.returncode == 0, done.stdout
    said = verdicts(done.stdout)
    assert {"host", "the host's multicast", "the host's clock", "the clock by NTP"} < said.keys()
    assert said["host"] == said["multicast"] == said["the host's multicast"] == said["the clock by NTP"] == "ok"
    assert not host.stats()[-1]["listeners"]  # a doctor does not listen


def test_a_host_in_another_group_is_found_by_its_address_and_its_music_is_missed(party: Party, tmp_path: Path) -> None:
    write_song(tmp_path / "song.wav", 8_000, 1, "PCM_16", 60)
    party.host(tmp_path / "song.wav")
    place = ["--group", "239.255.0.1", "--port", str(party.port), "--interface", "lo", "--host", "127.0.0.1"]
    done = run("doctor", *place, "--output", "null")
    assert done.returncode == 1, done.stdout
    assert verdicts(done.stdout)["the host's multicast"] == "NOT"
    assert "none arrives here" in done.stdout


def test_without_a_host_it_says_where_it_asked(party: Party) -> None:
    done = run("doctor", *party.place, "--output", "null")
    assert done.returncode == 0, done.stdout
    assert verdicts(done.stdout)["host"] == "note"
    assert f"{party.group}:{party.port}" in done.stdout
