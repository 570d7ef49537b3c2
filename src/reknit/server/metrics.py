"""What the server counts: requests by route, status and time; written as Prometheus text.

The ASGI layer here also writes the access log and turns an unexpected error into a problem, being the
outermost of all. Labels are route templates, never a client's words. It knows no route.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reknit.server.problem import Shape, Start, of_error, shaped

ACCESS = logging.getLogger("reknit.access")
BOUNDS_S = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
Sample = tuple[Mapping[str, str], float]


class Metrics:
    """Counts of answered requests. Used from the event loop only."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests[method if method in METHODS else "OTHER", route, status] += 1
        place = next((i for i, bound in enumerate(BOUNDS_S) if seconds <= bound), len(BOUNDS_S))
        self._buckets[route][place] += 1
        self._seconds[route] += seconds

    def text(self) -> str:
        """Return the counts as Prometheus text."""
        lines = family(
            "reknit_http_requests_total",
            "counter",
            "Answered requests.",
            (
                ({"method": m, "route": r, "status": str(s)}, n)
                for (m, r, s), n in sorted(self._requests.items())
            ),
        )
        lines += [
            "# HELP reknit_http_seconds Time from a request to the end of its answer.",
            "# TYPE reknit_http_seconds histogram",
        ]
        for route, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
                total += count
                lines.append(f"reknit_http_seconds_bucket{_labels({'route': route, 'le': bound})} {total}")
            lines.append(f"reknit_http_seconds_sum{_labels({'route': route})} {self._seconds[route]:.6f}")
            lines.append(f"reknit_http_seconds_count{_labels({'route': route})} {total}")
        return "\n".join(lines) + "\n"


def family(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> list[str]:
    """Return the lines of one metric."""
    head = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    return head + [f"{name}{_labels(labels)} {value:g}" for labels, value in samples]


def _labels(labels: Mapping[str, str]) -> str:
    quoted = (v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for v in labels.values())
    inside = ",".join(f'{name}="{value}"' for name, value in zip(labels, quoted, strict=True))
    return f"{{{inside}}}" if inside else ""


def resident_bytes() -> int:
    """Return this process's memory in bytes, 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class Observed:
    """The outermost ASGI layer: counts, logs, and answers for an application that failed."""

    def __init__(self, app: ASGIApp, metrics: Metrics, shapes: Mapping[Start, Shape] | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._shapes = shapes or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the application and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if status:
                raise
            await shaped(of_error(error), scope["path"], self._shapes)(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.observe(scope["method"], route, status, seconds)
            if ACCESS.isEnabledFor(logging.INFO):
                facts = {
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "seconds": round(seconds, 4),
                }
                ACCESS.info("%(method)s %(path)r %(status)d", facts, extra={"facts": facts})
