"""Play the same music at the same instant on every loudspeaker of a local network."""

__version__ = "0.1.0"
