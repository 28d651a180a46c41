"""`python -m fastpg` is the `fastpg` command."""

import sys

from fastpg.cli.main import main

sys.exit(main())
