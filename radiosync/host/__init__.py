"""The host: pre-buffer, pacing, history, listeners, session."""
