"""Samples: formats, codecs, resampling, concealment."""
