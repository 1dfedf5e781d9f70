"""Bytes on the wire and what they mean."""
