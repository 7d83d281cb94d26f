"""`python -m nas.cli`, the command `hwnas`."""

import sys

from nas.cli.command import main

sys.exit(main())
