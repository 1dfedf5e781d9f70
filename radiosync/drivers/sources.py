"""From what `--source` names to a source."""

from collections.abc import Callable, Sequence

from radiosync.config import Config
from radiosync.drivers.capture_source import CaptureSource, is_capture
from radiosync.drivers.file_source import FileSource
from radiosync.drivers.live_source import LiveSource, is_pipe, pcm_format, sample_format
from radiosync.drivers.playlist import expand_sources
from radiosync.drivers.priority import raise_priority
from radiosync.drivers.reader import Source
from radiosync.errors import SourceError


def is_live(source: str) -> bool:
    """Say whether a `--source` names a live source."""
    return is_pipe(source) or is_capture(source)


def open_source(values: Sequence[str], settings: Config, pcm: str, warn: Callable[[str], None]) -> Source:
    """Open files, folders and playlists as one list, or one live source; `pcm` is the format of its raw samples.

    Raises SourceError or DeviceError where that can't be done.
    """
    config = settings.host
    live = [value for value in values if is_live(value)]
    if not live:
        return FileSource(
            expand_sources(values, warn),
            rate=config.rate or None,
            channels=config.channels or None,
            loop=config.loop,
            ahead=settings.radio_sync.predictive_buffering,
            warn=warn,
        )
    if len(values) > 1:
        raise SourceError(f"{live[0]}: a live source has no end that another source could follow; name it alone")
    if is_capture(live[0]):
        raise_priority()  # before PortAudio's threads are started, which inherit it
        return CaptureSource(live[0], config.rate or None, config.channels or None, sample_format(pcm), warn)
    return LiveSource(live[0], pcm_format(config.rate, config.channels, pcm), warn)
