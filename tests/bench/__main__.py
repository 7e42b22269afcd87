"""`python -m tests.bench`: measures, prints a table, and ends with 1 when a race lost, doubled or refused a message."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench import growth, ingest, machine, reading, setting
from tests.bench.report import Report
from tests.bench.sizes import FULL, QUICK

ENTRIES = {"ingest": ingest.measure, "growth": growth.measure, "reading": reading.measure}
REFERENCE = "THREADLINE_BENCH_REFERENCE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for and answer the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Timings, as ratios within one run.")
    parser.add_argument("entries", nargs="*", metavar="entry", help=f"{', '.join(ENTRIES)}; by default all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument(
        "--reference",
        type=Path,
        default=os.environ.get(REFERENCE),
        help=f"a folder with naive/ingest.ts and naive/schema.sql to compare with; by default ${REFERENCE}",
    )
    parser.add_argument("--json", type=Path, help="a file for all samples")
    options = parser.parse_args(arguments)
    if unknown := set(options.entries) - set(ENTRIES):
        parser.error(f"no such entry: {', '.join(sorted(unknown))}")

