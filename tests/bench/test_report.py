"""Verdicts follow from the figures alone, and the page shows them with their commands."""

import numpy as np
import pytest
from bench.cases import Case
from bench.metrics import HIGHER_IS_BETTER
from bench.report import report
from bench.sheet import PAGE, Sheet
from bench.verdicts import RIVALS, Verdict, best_of_patchmatch, chosen_patchmatch, share_better, verdicts

from examples import scenes


def scores(goodness):
    """Scores that are better the higher ``goodness`` (0 to 1) is."""
    values = {name: goodness if up else 1 - goodness for name, up in HIGHER_IS_BETTER.items()}
    return values | {"seconds": 1.0, "outside_equal": True, "peak_bytes": 1e8, "fill_bytes": 1e7}


def quality(ours, rivals=(0.5, 0.6, 0.4), cases=4):
    methods = {"reknit": scores(ours)} | {
        f"pypatchmatch-{n}": scores(g) for n, g in zip((3, 5, 7), rivals, strict=True)
    }
    rows = [{"case": f"c{k}", "real": k % 2 == 0, "hole": 0.1, "scores": methods} for k in range(cases)]
    machine = {
        "cpu": "Abacus",
        "cpus": 2,
        "load_before": 0.1,
        "system": "Test",
        "python": "3",
        "date": "2026-01-01",
    }
    return {
        "rows": rows, "sheets": [], "missing": {"gmic": "module gmic is not installed"}, "set": "held-out",
        "command": "python -m bench quality", "machine": machine | {"versions": {"pypatchmatch": "2.2"}},
    }  # fmt: skip


def test_best_of_patchmatch_knows_which_way_is_better():
    row = quality(0.9)["rows"][0]
    assert best_of_patchmatch(row, "ssim") == 0.6
    assert best_of_patchmatch(row, "fd") == pytest.approx(0.4)
    assert chosen_patchmatch(row, "ssim") == 0.6


@pytest.mark.parametrize("rival", RIVALS.values())
def test_share_better_counts_strict_wins(rival):
    assert share_better(quality(0.7)["rows"], "fd", rival) == 1
    assert share_better(quality(0.6)["rows"], "fd", rival) == 0


@pytest.mark.parametrize("goodness, passed", [(0.7, True), (0.5, False)])
def test_verdicts_follow_the_figures(goodness, passed):
    lines = verdicts("quality", quality(goodness))
    assert {v.passed for v in lines if "pypatchmatch" in v.demand} == {passed}


def test_a_changed_pixel_outside_fails():
    result = quality(0.7)
    result["rows"][0]["scores"]["reknit"] |= {"outside_equal": False}
    assert any(not v.passed and "outside" in v.demand for v in verdicts("quality", result))


def test_verdict_lines_name_bar_and_value():
    line = Verdict(demand="speed", value=11.2, bar=12, at_least=True, unit="×").line()
    assert line == "FAIL: speed: 11.2 × (≥ 12 ×)"
    assert (
        Verdict(demand="share", value=0.8, bar=0.75, at_least=True, unit="%")
        .line()
        .startswith("pass: share: 80%")
    )


def test_the_page_has_tables_commands_and_verdicts():
    page = report({"quality": quality(0.7)})
    assert "`python -m bench quality`" in page
    assert "Abacus" in page
    assert "| reknit | 0.700" in page
    assert "- pass: fd better than pypatchmatch" in page
    assert "| pypatchmatch-3 | 100% |" in page
    assert "gmic (module gmic is not installed)" in page


def test_the_page_of_speed_and_scaling():
    seconds = {"reknit-1": [0.1, 0.1], "reknit-2": [0.06, 0.06], "pypatchmatch-5": [1.3, 1.5]}
    memory = {"seconds": 1.0, "cpu_s": 0.6, "peak_bytes": 2e8, "before_bytes": 1e8}
    busy = [{"case": "a", "hogs": 0, "threads": 2, "seconds": {"one": [0.1], "many": [0.07]}}]
    meta = {k: quality(0.7)[k] for k in ("command", "machine")}
    speed = {
        "rows": [{"case": "a", "seconds": seconds}],
        "memory": {"reknit": memory},
        "memory_case": "a",
        "busy": busy,
    }
    sized = {"case": "x", "photo_px": 12e6, "hole_px": 6e5, "seconds": {"reknit-1": [1.0]}, "memory": memory}
    scaling = {"by_photo": [sized], "by_hole": [sized], "big": [sized] * 3, "specks": [sized] * 2}
    page = report({"speed": speed | meta, "scaling": scaling | meta})
    assert (
        "pass: pypatchmatch (patch 5) over reknit.fill at 1 thread(s), median of 1 photos: 14 × (≥ 12 ×)"
        in page
    )
    assert "pass: 300 specks over one stroke of their area, time: 1 ×" in page
    assert "| x | 12.0 | 600 | 1.00 | 0.60 | 1.00 | 200 |" in page


def test_contact_sheets_hold_ten_cases_a_page(tmp_path):
    import cv2

    truth = scenes.render("dusk", 96, 64, 1)
    hole = np.zeros((64, 96), bool)
    hole[20:40, 30:60] = True
    case = Case(name="dusk", truth=truth, hole=hole, real=False)
    sheet = Sheet(tmp_path, ["reknit", "pypatchmatch-3", "pypatchmatch-5", "telea"])
    filled = dict.fromkeys(("reknit", "pypatchmatch-3", "pypatchmatch-5", "telea"), truth)
    both = {name: scores(0.5) for name in filled}
    for _ in range(PAGE + 1):
        sheet.add(case, filled, both)
    assert sheet.close() == ["contact-1.png", "contact-2.png"]
    first, second = (cv2.imread(str(tmp_path / name)) for name in ("contact-1.png", "contact-2.png"))
    assert first.shape[0] == PAGE * second.shape[0]
    assert first.shape[1] == second.shape[1] == 5 * 400
