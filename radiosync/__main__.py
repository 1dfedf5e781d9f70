"""Runs the command line: `python -m radiosync`."""

from radiosync.cli import main

main()
