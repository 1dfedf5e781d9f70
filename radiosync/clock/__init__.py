"""Clocks and the maps between them; nobody else knows an offset."""
