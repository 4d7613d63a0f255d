"""dth moves what differs between two object stores, verified, with nothing lost."""

__version__ = "0.1.0"
