"""``python -m bench quality|speed|scaling|startup|all|report``: measure, and write JSON, tables and contact sheets."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from bench import clock, peers, run
from bench.report import TITLES, report
from bench.verdicts import verdicts

MEASUREMENTS = {"quality": run.quality, "speed": run.speed, "scaling": run.scaling, "startup": run.startup}


def _threads(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(part) for part in text.split(",")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Reknit beside its peers.")
    parser.add_argument("what", nargs="?", default="all", choices=[*MEASUREMENTS, "all", "report"])
    parser.add_argument("--cases", type=int, metavar="N", help="at most so many cases, evenly drawn")
    parser.add_argument("--threads", type=_threads, default=(1, 2), metavar="N,M")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="repetitions of each timing")
    parser.add_argument("--peers", type=lambda s: tuple(s.split(",")), default=(), metavar="A,B",
                        help=f"of {', '.join(peers.catalogue())}; default: all installed but biharmonic")  # fmt: skip
    parser.add_argument("--engine", default="exemplar", help="Reknit's engine under test")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes for quality")
    parser.add_argument("--tuning", action="store_true", help="quality on the tuning set")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), metavar="FOLDER")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="also write the page there")
    return parser.parse_args()


def _stored(folder: Path) -> dict[str, Any]:
    files = {name: folder / f"{name}.json" for name in TITLES}
    return {
        name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()
    }


def main() -> None:
    """Run what was asked for, and write the report over all that lies in the folder."""
    args = _arguments()
    options = run.Options(
        out=args.out, engine=args.engine, limit=args.cases, threads=args.threads, rounds=args.rounds,
        peers=args.peers, tuning=args.tuning, jobs=args.jobs,
    )  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    for name, measure in MEASUREMENTS.items():
        if args.what not in (name, "all"):
            continue
        rest = [a for a in sys.argv[1:] if a != args.what]
        command = shlex.join(["python", "-m", "bench", name, *rest])
        machine = clock.machine() | {"versions": peers.versions()}
        result = measure(options) | {"command": command, "machine": machine}
        (args.out / f"{name}.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        print(f"{name}:")
        for verdict in verdicts(name, result):
            print("  " + verdict.line())
    page = report(_stored(args.out))
    for file in (args.out / "report.md", args.docs):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(page, encoding="utf-8")
            print(f"wrote {file}")


if __name__ == "__main__":
    main()
