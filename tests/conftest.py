"""Every run draws the same examples: a failure is a change's, never the day's."""

from hypothesis import settings

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")
