"""The benchmark: cases with ground truth, metrics, peers, and a report. Run it with ``make bench``."""
