"""Files, folders and playlists become a list of songs, and what is wrong with them one clear line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from radiosync.drivers import playlist
from radiosync.drivers.playlist import expand_sources, natural_key
from radiosync.errors import SourceError


class Warnings(list[str]):
    def __call__(self, line: str) -> None:
        assert "\n" not in line
        self.append(line)


@pytest.fixture
def warnings() -> Warnings:
    return Warnings()


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, content: bytes = b"x") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


Touch = Callable[..., Path]


def names(tmp_path: Path, values: list[str], warnings: Warnings) -> list[str]:
    return [str(entry.path.relative_to(tmp_path)) for entry in expand_sources(values, warnings)]


def test_a_file_is_itself_whatever_its_name(touch: Touch, tmp_path: Path, warnings: Warnings) -> None:
    path = touch("song.xyz")
    (entry,) = expand_sources([str(path)], warnings)
    assert (entry.path, entry.title, entry.named) == (path, None, True)


def test_a_folder_comes_in_natural_order_without_hidden_and_other_files(
    touch: Touch, tmp_path: Path, warnings: Warnings
) -> None:
    for name in (
        *("10 last.flac", "2 two.FLAC", "1 one.mp3", "cover.jpg", "list.m3u", ".hidden.flac"),
        *("CD10/a.ogg", "CD2/b.ogg", "CD2/sub/c.wav", ".git/d.wav", "scans/e.png"),
    ):
        touch(name)
    assert names(tmp_path, [str(tmp_path)], warnings) == [
        *("1 one.mp3", "2 two.FLAC", "10 last.flac"),
        *("CD2/b.ogg", "CD2/sub/c.wav", "CD10/a.ogg"),
    ]
    assert warnings == []


def test_natural_order() -> None:
    assert sorted(["b", "A10", "a2", "a", "10", "9", "a02b"], key=natural_key) == [
        "9",
        "10",
        "a",
        "a2",
        "a02b",
        "A10",
        "b",
    ]


def test_a_folder_linked_into_itself_ends(touch: Touch, tmp_path: Path, warnings: Warnings) -> None:
    touch("a/song.wav")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path, [str(tmp_path)], warnings) == ["a/song.wav"]


def test_folders_too_deep_are_left_out(
    touch: Touch, tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playlist, "FOLDER_DEPTH_MAX", 2)
    touch("a/b/song.wav")
    touch("a/b/c/song.wav")
    assert names(tmp_path, [str(tmp_path)], warnings) == ["a/b/song.wav"]
    assert len(warnings) == 1
    assert "2 deep" in warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("p.m3u8", "\ufeff#EXTM3U\r\n#EXTINF:12,Björk - Jóga\r\nö 1.wav\r\n".encode(), "Björk - Jóga"),
        ("p.m3u", "#EXTINF:-1,Caf\xe9\n\xf6 1.wav\n".encode("latin-1"), "Café"),
        ("p.m3u", "# a remark\n\nö 1.wav".encode(), None),
        ("P.PLS", "[playlist]\nfile1 = ö 1.wav\nTitle1=One\nLength1=3\nNumberOfEntries=1\n".encode(), "One"),
        ("p.m3u", b"file:{}", None),
    ],
)
def test_playlists(
    name: str, content: bytes, title: str | None, touch: Touch, tmp_path: Path, warnings: Warnings
) -> None:
    song = touch("music/ö 1.wav")
    path = touch("music/" + name, content.replace(b"file:{}", song.as_uri().encode()))
    (entry,) = expand_sources([str(path)], warnings)
    assert entry.path.samefile(song)
    assert (entry.title, entry.named) == (title, False)
    assert warnings == []


def test_playlists_written_on_windows_and_pls_order(touch: Touch, tmp_path: Path, warnings: Warnings) -> None:
    touch("m/a.wav")
    touch("b.wav")
    path = touch("p.pls", b"[playlist]\r\nFile10=b.wav\r\nFile2=m\\a.wav\r\nTitle3=none\r\n")
    assert names(tmp_path, [str(path)], warnings) == ["m/a.wav", "b.wav"]


def test_broken_entries_are_skipped_with_one_line_each(touch: Touch, tmp_path: Path, warnings: Warnings) -> None:
    touch("good.wav")
    touch("other.m3u")
    lines = ["missing.wav", "http://radio/stream", ".", "other.m3u", "nul\0name.wav", "file://[/a.wav", "good.wav"]
    path = touch("p.m3u", "\n".join(lines).encode())
    assert names(tmp_path, [str(path)], warnings) == ["good.wav"]
    assert len(warnings) == 6
    assert "'missing.wav' skipped, there is no such file" in warnings[0]
    assert "network address" in warnings[1]


def test_a_long_line_takes_no_longer_than_its_length(touch: Touch, tmp_path: Path, warnings: Warnings) -> None:
    touch("good.wav")
    long = b"File1=a" + b" " * 1_000_000 + b"b\n"  # what backtracks over it takes hours
    assert names(tmp_path, [str(touch("p.pls", long + b"File2= good.wav \nTitle2=\n"))], warnings) == ["good.wav"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("missing.wav", "no such file"),
        ("missing/", "no such file"),
        ("empty-folder", "without music"),
        ("bad\0name", "can't be read"),
        ("empty.m3u", "without a song"),
        ("broken.m3u", "without a song"),
        ("http://example.org/a.mp3", "network address"),
    ],
)
def test_errors_name_the_thing_the_reason_and_the_mend(
    value: str, reason: str, touch: Touch, tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty-folder").mkdir()
    touch("empty.m3u", b"")
    touch("broken.m3u", b"nothing.wav")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=reason) as caught:
        expand_sources([value], warnings)
    message = str(caught.value)
    assert message.startswith(value.rstrip("/"))
    assert ";" in message
    assert "\n" not in message


def test_nothing_named_is_an_error(warnings: Warnings) -> None:
    with pytest.raises(SourceError, match="name a sound file"):
        expand_sources([], warnings)


def test_limits(touch: Touch, tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playlist, "ENTRIES_MAX", 3)
    for number in range(5):
        touch(f"m/{number}.wav")
    touch("n/x.wav")
    assert len(expand_sources([str(tmp_path / "m"), str(tmp_path / "n")], warnings)) == 3
    assert len(warnings) == 1
    assert "first 3" in warnings[0]
    monkeypatch.setattr(playlist, "PLAYLIST_BYTES_MAX", 10)
    with pytest.raises(SourceError, match="larger than"):
        expand_sources([str(touch("big.m3u", b"0.wav\n" * 2))], warnings)
