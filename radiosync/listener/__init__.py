"""The listener: jitter buffer, playout, session."""
