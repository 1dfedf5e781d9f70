"""Runs the command line, as `radiosync` and as `python -m radiosync`: notes the time before it imports the rest."""

from radiosync.drivers.startup import Startup


def main() -> None:
    """Run the command line."""
    startup = Startup()
    startup.reached("python")
    from radiosync.cli import main as run  # noqa: PLC0415

    run(startup)


if __name__ == "__main__":
    main()
