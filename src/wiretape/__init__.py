"""wiretape: the flight recorder for HTTP."""

__version__ = "0.1.0"
