"""``python -m wiretape``: the same as the ``wiretape`` command."""

from __future__ import annotations

from wiretape.cli.main import main

if __name__ == "__main__":
    main()
