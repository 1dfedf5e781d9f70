"""The same sessions in virtual time."""
