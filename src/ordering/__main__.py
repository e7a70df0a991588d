"""``python -m ordering``: the same as the ``ordering`` command."""

import sys

from ordering.entrypoints.cli import main

if __name__ == "__main__":
    sys.exit(main())
