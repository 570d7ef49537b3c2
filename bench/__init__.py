"""The benchmark: cases with ground truth, metrics, peers, and a report. Run it with ``make bench``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))  # the generated scenes
