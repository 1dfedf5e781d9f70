"""What several tests of audio share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # for `import rooms`, as pytest's importlib mode leaves sys.path alone
