"""From what `--source` names to a source."""

from collections.abc import Callable, Sequence

from radiosync.config import Config
from radiosync.drivers.file_source import FileSource
from radiosync.drivers.live_source import LiveSource, is_live, pcm_format
from radiosync.drivers.playlist import expand_sources
from radiosync.drivers.reader import Source
from radiosync.errors import SourceError


def open_source(values: Sequence[str], settings: Config, pcm: str, warn: Callable[[str], None]) -> Source:
    """Open files, folders and playlists as one list, or one live source; `pcm` is the format of raw samples.

    Raises SourceError where that can't be done.
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
    return LiveSource(live[0], pcm_format(config.rate, config.channels, pcm), warn)
