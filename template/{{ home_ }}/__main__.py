"""``python -m <package> …`` is ``python -m <package>.speech …``."""

from .speech.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
