"""Loss repair: both sides' halves side by side."""
