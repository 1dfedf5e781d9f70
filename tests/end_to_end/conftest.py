"""Lets the tests of this folder import their helpers, and gives each its own party."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from party import Party


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    with Party(tmp_path) as party:
        yield party


@pytest.fixture(scope="session")
def cards() -> ModuleType:
    """Return the lab's maker of sound cards, where one can be made."""
    folder = Path(__file__).parents[2] / "tools" / "lab"
    if sys.platform != "linux" or importlib.util.find_spec("sounddevice") is None:
        pytest.skip("the virtual card is an ALSA plug-in")
    sys.path.insert(0, str(folder))
    import cards  # noqa: PLC0415
    from lan import LabError  # noqa: PLC0415

    try:
        import sounddevice  # noqa: F401, PLC0415

        cards.library("card")
    except OSError:
        pytest.skip("PortAudio is not installed")
    except LabError as error:
        pytest.skip(f"the virtual card can't be built: {error}")
    if not cards.ALSA_CONF.exists():
        pytest.skip(f"{cards.ALSA_CONF} is missing: ALSA is not installed")
    return cards
