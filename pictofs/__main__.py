"""`python -m pictofs` is `pictofs`."""

import sys

from pictofs.cli import main

if __name__ == "__main__":
    sys.exit(main())
