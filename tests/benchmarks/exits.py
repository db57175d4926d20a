"""Fail unless the folder that is named exists: a benchmark for tests."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.exit(not Path(sys.argv[1]).is_dir())
