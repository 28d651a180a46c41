"""`python -m fastpg` is the `fastpg` command."""

import sys

from fastpg.cli import main

sys.exit(main())
