"""Runs the command line, as `radiosync` and as `python -m radiosync`."""

import sys

from radiosync.drivers.startup import Startup


def main() -> None:
    """Run the command line; a listener whose options are plain goes past typer, which takes its time."""
    startup = Startup()
    startup.reached("python")
    command, words = sys.argv[1:2], sys.argv[2:]
    if command == ["listen"]:
        from radiosync.ui.listen import read_plainly, run_listen  # noqa: PLC0415
        from radiosync.ui.running import exit_after  # noqa: PLC0415

        options = read_plainly(words)
        if options is not None:
            exit_after(lambda: run_listen(startup, **options))
    from radiosync.cli import main as run  # noqa: PLC0415

    run(startup)


if __name__ == "__main__":
    main()
