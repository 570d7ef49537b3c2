"""The report of a batch: counts, failures with their reasons, timings, before and after in small.

One HTML page that needs nothing but the small pictures beside it, the same numbers as JSON, and every failure as
CSV. All of it is read from the ledger, so it can be written again at any time.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reknit.batch import places
from reknit.batch.item import Outcome, Setup
from reknit.batch.ledger import Ledger
from reknit.core import files
from reknit.core.errors import ReknitError

PAGE, DATA, FAILURES = "index.html", "report.json", "failures.csv"
SHOWN_FAILURES = 500
"""The page shows so many; the CSV file has all."""
_SAMPLES = 100_000  # of timings, for medians


@dataclass(slots=True)
class _Figures:
    """What is counted while the results go by."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    engines: Counter[str] = field(default_factory=Counter[str])
    notes: Counter[str] = field(default_factory=Counter[str])
    megapixels: float = 0.0
    hole_px: int = 0

    def count(self, outcome: Outcome) -> None:
        for stage, seconds in outcome.seconds.items():
            samples = self.seconds.setdefault(stage, [])
            if len(samples) < _SAMPLES:
                samples.append(seconds)
        self.engines[outcome.engine or "unknown"] += 1
        self.notes.update(note for note in outcome.notes if len(self.notes) < 50 or note in self.notes)
        self.megapixels += outcome.size[0] * outcome.size[1] / 1e6
        self.hole_px += outcome.hole_px


def keep_thumbs(record: Path, outcome: Outcome) -> None:
    """Keep the small pictures of an outcome beside the page, which does without those that cannot be written."""
    with suppress(OSError, ReknitError):
        (record / "thumbs").mkdir(exist_ok=True)
        for name, data in zip(("before", "after"), outcome.thumbs, strict=False):
            files.write_bytes(record / "thumbs" / f"{outcome.id}-{name}.jpg", base64.b64decode(data))


def write_report(record: Path, ledger: Ledger, setup: Setup, *, seconds: float) -> Path:
    """Write the page, its data and the list of failures into ``record``; return the page's path.

    Parameters
    ----------
    record
        The folder of the ledger.
    ledger, setup
        What the batch was.
    seconds
        How long the last run took.
    """
    figures = _Figures()
    sheet: list[Outcome] = []
    for outcome in ledger.results("done"):
        figures.count(outcome)
        if (record / "thumbs" / f"{outcome.id}-after.jpg").exists():
            sheet.append(outcome)
    data = _data(ledger, setup, figures, seconds)
    files.write_bytes(record / DATA, json.dumps(data, indent=1).encode())
    files.write_bytes(record / FAILURES, _failures_csv(ledger.results("failed")))
    shown = list(ledger.results("failed", limit=SHOWN_FAILURES))
    page = _page(data, shown, sheet, record)
    files.write_bytes(record / PAGE, page.encode("utf-8", "replace"))
    return record / PAGE


def _data(ledger: Ledger, setup: Setup, figures: _Figures, seconds: float) -> dict[str, Any]:
    counts = ledger.counts()
    stages = {
        stage: {
            "median": round(statistics.median(samples), 4),
            "p90": round(sorted(samples)[int(0.9 * (len(samples) - 1))], 4),
            "total": round(sum(samples), 2),
        }
        for stage, samples in figures.seconds.items()
    }
    return {
        "counts": counts,
        "total": sum(counts.values()),
        "seconds": round(seconds, 2),
        "reasons": dict(ledger.reasons()),
        "stages": stages,
        "engines": dict(figures.engines.most_common()),
        "megapixels": round(figures.megapixels, 2),
        "hole_px": figures.hole_px,
        "notes": dict(figures.notes.most_common(20)),
        "setup": setup.to_dict(),
    }


def _failures_csv(failures: Iterator[Outcome]) -> bytes:
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(("image", "code", "message", "hint"))
    for outcome in failures:
        error = outcome.error or {}
        rows.writerow((outcome.image, error.get("code"), error.get("message"), error.get("hint")))
    return text.getvalue().encode("utf-8", "replace")


# --- the page --------------------------------------------------------------------------------------------

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Batch: {title}</title><style>
:root {{ color-scheme: light dark; --line: #8884; --dim: #6a6a6a; }}
@media (prefers-color-scheme: dark) {{ :root {{ --dim: #aaa; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 24px; }}
h1 {{ font-size: 22px; margin: 0 0 4px; }} h2 {{ font-size: 17px; margin: 32px 0 8px; }}
p {{ margin: 4px 0; }} .dim {{ color: var(--dim); }} code {{ font-size: 13px; overflow-wrap: anywhere; }}
.counts {{ display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; }}
.counts div {{ border: 1px solid var(--line); border-radius: 8px; padding: 8px 18px 10px; }}
.counts b {{ display: block; font-size: 26px; font-weight: 600; }}
.bad b {{ color: #c33; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
.sheet {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 18px; }}
figure {{ margin: 0; min-width: 0; }} figcaption {{ font-size: 13px; overflow-wrap: anywhere; }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: 4px; background: #8882; align-items: center; }}
.pair img {{ width: 100%; height: 180px; object-fit: contain; display: block; }}
</style></head><body>
"""


def _page(data: dict[str, Any], failures: Sequence[Outcome], sheet: Sequence[Outcome], record: Path) -> str:
    setup = data["setup"]
    parts = [_HEAD.format(title=_text(setup["out"]))]
    parts.append(f"<h1>Batch into {_text(setup['out'])}</h1>")
    parts.append(f'<p class="dim">{_text(_sentence(data))}</p>')
    parts.append(_counts(data["counts"]))
    if data["stages"]:
        parts.append(_stages(data["stages"]))
    if failures:
        parts.append(_failures(data, failures))
    if data["notes"]:
        rows = "".join(
            f'<tr><td class="n">{n:,}</td><td>{_text(note)}</td></tr>' for note, n in data["notes"].items()
        )
        parts.append(f"<h2>Notes</h2><table>{rows}</table>")
    if sheet:
        parts.append(
            f"<h2>Before and after</h2><p class=dim>{len(sheet):,} of {data['counts']['done']:,} pictures.</p>"
        )
        parts.append('<div class="sheet">' + "".join(_pair(outcome, record) for outcome in sheet) + "</div>")
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _sentence(data: dict[str, Any]) -> str:
    seconds, done = data["seconds"], data["counts"]["done"]
    engines = ", ".join(f"{name} {n:,}" for name, n in data["engines"].items())
    parts = [f"{data['megapixels']:,.1f} megapixels", f"{data['hole_px'] / 1e6:,.2f} million pixels filled"]
    if engines:
        parts.append(f"engines: {engines}")
    if seconds >= 0.05:
        parts.append(f"the last run took {seconds:,.1f} s")
    return "; ".join(parts) + "." if done else "No picture was done."


def _counts(counts: dict[str, int]) -> str:
    cells = [("done", counts["done"], ""), ("failed", counts["failed"], "bad" if counts["failed"] else "")]
    if left := counts["waiting"] + counts["running"]:
        cells.append(("still to do", left, ""))
    return (
        '<div class="counts">'
        + "".join(f'<div class="{style}"><b>{n:,}</b>{name}</div>' for name, n, style in cells)
        + "</div>"
    )


def _stages(stages: dict[str, dict[str, float]]) -> str:
    rows = "".join(
        f'<tr><td>{_text(name)}</td><td class="n">{s["median"] * 1000:,.0f} ms</td>'
        f'<td class="n">{s["p90"] * 1000:,.0f} ms</td><td class="n">{s["total"]:,.1f} s</td></tr>'
        for name, s in stages.items()
    )
    head = '<tr><th>step</th><th class="n">median</th><th class="n">90 of 100 within</th><th class="n">sum</th></tr>'
    return f"<h2>Time a picture</h2><table>{head}{rows}</table>"


def _failures(data: dict[str, Any], failures: Sequence[Outcome]) -> str:
    reasons = ", ".join(f"{_text(code)} {n:,}" for code, n in data["reasons"].items())
    rows = "".join(
        f"<tr><td><code>{_text(_shown(o.image))}</code></td><td>{_text((o.error or {}).get('message', ''))}"
        f'<br><span class="dim">{_text((o.error or {}).get("hint", ""))}</span></td></tr>'
        for o in failures
    )
    more = data["counts"]["failed"] - len(failures)
    rest = f'<p>{more:,} more are in <a href="{FAILURES}">{FAILURES}</a>.</p>' if more > 0 else ""
    return f"<h2>Failures</h2><p class=dim>{reasons}</p><table>{rows}</table>{rest}"


def _pair(outcome: Outcome, record: Path) -> str:
    name = _text(_shown(outcome.image))
    link = _link(outcome.outputs[0], record) if outcome.outputs else ""
    images = "".join(
        f'<img src="thumbs/{outcome.id}-{which}.jpg" alt="{which}" loading="lazy">'
        for which in ("before", "after")
    )
    width, height = outcome.size
    about = f"{width} × {height}, {_text(outcome.engine)}, {sum(outcome.seconds.values()):.2f} s"
    return (
        f'<figure><a href="{link}"><div class="pair">{images}</div></a>'
        f'<figcaption>{name}<br><span class="dim">{about}</span></figcaption></figure>'
    )


def _link(output: str, record: Path) -> str:
    from urllib.parse import quote

    if places.is_uri(output):
        return _text(output)
    return _text(quote(Path(os.path.relpath(output, record)).as_posix()))


def _shown(place: str) -> str:
    """Return the end of a path, which is what tells pictures apart."""
    return place if len(place) < 90 else "…" + place[-88:]


def _text(value: Any) -> str:
    return html.escape(str(value).encode("utf-8", "replace").decode(), quote=True)
