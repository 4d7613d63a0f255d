"""The door of the installed command, and of `python -m dth`: light, so that a Ctrl-C while the rest is loaded ends it quietly."""

import os
import signal


def run() -> None:
    """Run `dth`."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the event loop takes it over
    if os.getpid() == 1:  # of a container: the kernel keeps signals from it unless it handles them
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: os._exit(128 + received))
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # dth has none, and looking for them reads every package
    from dth.cli.main import run as command  # noqa: PLC0415 - half a second of imports

    command()


if __name__ == "__main__":
    run()
