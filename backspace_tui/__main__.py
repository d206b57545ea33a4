"""``python -m backspace_tui``."""

import sys

from backspace_tui.cli import main

sys.exit(main())
