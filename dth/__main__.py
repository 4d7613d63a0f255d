"""The door of the installed command, and of `python -m dth`: light, so that a Ctrl-C while the rest is loaded ends it quietly."""

from __future__ import annotations

import os
import signal
import sys

from dth import __version__


def run() -> None:
    """Run `dth`, and end the process without taking it apart: nothing after this is done."""
    try:
        start()
    except SystemExit as end:
        _leave(end)


def start() -> None:
    """Run `dth` for a caller that has something to do afterwards. Raises SystemExit at its end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the event loop takes it over
    if os.getpid() == 1:  # of a container: the kernel keeps signals from it unless it handles them
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: os._exit(128 + received))
    _without_plugins()
    if sys.argv[1:] == ["--version"]:  # all that a script wants to know of most programs
        _say_version()
    from dth.cli.gc_tuning import collect_less, collect_nothing  # noqa: PLC0415

    collect_nothing()
    try:
        from dth.cli.main import run as command  # noqa: PLC0415 - a quarter of a second of imports, with what these import

        command()
    finally:
        collect_less()


def _without_plugins() -> None:
    """Keep pydantic from looking for plugins, which dth has none of: that reads every package that is installed. It would
    still load the library that does so, a tenth of a command's start, so what it would ask is answered here."""
    if os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__") != "__all__":
        return
    name = "pydantic.plugin._loader"

    def real(wanted: str) -> object:
        """Should pydantic ask for anything else one day."""
        if wanted.startswith("__"):  # the import itself asks whether this is a package
            raise AttributeError(wanted)
        from importlib import import_module  # noqa: PLC0415

        sys.modules.pop(name, None)
        return getattr(import_module(name), wanted)

    stand_in = type(sys)(name)
    stand_in.__dict__.update(get_plugins=tuple, __getattr__=real)
    sys.modules[name] = stand_in


def _say_version() -> None:
    """As the command of `dth.cli.main` does, which loads its libraries first."""
    try:
        os.write(1, f"dth {__version__}\n".encode("ascii"))
    finally:  # whether anybody reads it or not
        os._exit(0)


def _leave(end: SystemExit) -> None:
    """End now: to take a thousand modules apart takes a thirtieth of a second. Not where anything is left to be done or
    said: then the interpreter ends as it is used to."""
    import atexit  # noqa: PLC0415 - both are there by now
    import threading  # noqa: PLC0415

    threads = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if threads or not isinstance(end.code, int | None):
        raise end
    atexit._run_exitfuncs()  # noqa: SLF001 - no other way to end with these and without the rest
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        raise end from None
    os._exit(end.code or 0)


if __name__ == "__main__":
    run()
