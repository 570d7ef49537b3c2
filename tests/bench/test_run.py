"""The harness from end to end on few cases, with a quick engine in place of the one under test."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import cases, child, ours

ROOT = Path(__file__).parents[2]


def bench(folder, *arguments):
    command = [sys.executable, "-m", "bench", *arguments, "--engine", "telea", "--out", str(folder)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_product_and_bare_engine_fill_the_hole_and_nothing_else():
    case = cases.held_out()[0]
    for fill in (ours.product("telea", threads=1), ours.bare("telea", threads=1)):
        filled = fill(case.holed, case.hole)
        assert np.array_equal(filled[~case.hole], case.truth[~case.hole])
        assert (filled[case.hole] != 127).any()


def test_quality_writes_json_page_and_sheet(tmp_path):
    said = bench(tmp_path, "quality", "--cases", "2", "--peers", "navier-stokes")
    result = json.loads((tmp_path / "quality.json").read_text())
    assert [set(row["scores"]) for row in result["rows"]] == [{"reknit", "navier-stokes"}] * 2
    assert all(row["scores"]["reknit"]["outside_equal"] for row in result["rows"])
    assert (tmp_path / "contact-1.png").stat().st_size > 10_000
    assert "| reknit |" in (tmp_path / "report.md").read_text()
    assert "pass: cases with a changed pixel outside the hole: 0" in said


def test_a_child_reports_seconds_and_memory():
    figures = child.measured(cases.held_out()[0], "telea")
    assert 0 < figures["seconds"] < 60
    assert figures["peak_bytes"] >= figures["before_bytes"] > 10e6


def test_unknown_measurements_are_refused(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        bench(tmp_path, "beauty")
