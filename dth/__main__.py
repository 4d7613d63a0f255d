"""`python -m dth`."""

from dth.cli.main import run

run()
