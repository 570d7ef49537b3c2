"""``reknit serve``: the page and the API, on this machine or for a network."""

from __future__ import annotations

import logging
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reknit.core.errors import InputError
from reknit.core.options import Option

if TYPE_CHECKING:
    from reknit.server.rooms import ServeSettings

PORT = 7878
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ANYWHERE = ("0.0.0.0", "::", "")
FORMATS = ("text", "json")
NUMBERS = {
    option.name: option
    for option in (
        Option(name="port", kind="int", default=PORT, minimum=0, maximum=65535, help="0 takes a free one"),
        Option(
            name="max_upload",
            kind="int",
            default=512,
            minimum=1,
            maximum=2**20,
            unit="MiB",
            help="longest file",
        ),
        Option(
            name="max_queued",
            kind="int",
            default=1000,
            minimum=1,
            maximum=10**6,
            help="most jobs that may wait",
        ),
        Option(
            name="keep_days",
            kind="float",
            default=90.0,
            minimum=0,
            maximum=36500,
            unit="days",
            help="how long ended jobs and their pictures stay",
        ),
        Option(
            name="keep_gib",
            kind="float",
            default=50.0,
            minimum=0,
            maximum=2**20,
            unit="GiB",
            help="how much all pictures may take before the oldest jobs go",
        ),
    )
}
REPLICAS = Option(name="ray_replicas", kind="int", default=None, minimum=1, maximum=4096, help="processes")
LEAST_TOKEN = 8


@click.command(name="serve")
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Where to listen; 0.0.0.0 for the network.  [default: 127.0.0.1]",
)
@click.option("--port", metavar="N", help=f"Port; 0 takes a free one.  [default: {PORT}]")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--token",
    is_flag=False,
    flag_value="",
    metavar="[TEXT]",
    help="Ask for this token, or for a new one; always on when others can connect.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="Where jobs and pictures are kept."
)
@click.option(
    "--models-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="Where downloaded models lie."
)
@click.option("--max-upload", metavar="MIB", help="Refuse longer files.  [default: 512]")
@click.option("--max-queued", metavar="N", help="Refuse more waiting jobs.  [default: 1000]")
@click.option("--keep-days", metavar="DAYS", help="Forget ended jobs that are older.  [default: 90]")
@click.option("--keep-gib", metavar="GIB", help="Forget the oldest ended jobs beyond this.  [default: 50]")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which the server may be addressed.",
)
@click.option(
    "--cors-origin", "origins", multiple=True, metavar="URL", help="Another site that may use the API."
)
@click.option(
    "--batch-root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Let clients fill whole folders in this one; nothing outside is read or written.",
)
@click.option("--ray", metavar="local|auto|ADDRESS", help="Serve by Ray Serve, with engines on its cluster.")
@click.option(
    "--ray-replicas", metavar="N", help="Processes that fill; by default one for each GPU, or 4 cores."
)
@click.option(
    "--log-format", metavar="text|json", default="text", help="How to write the log, on standard error."
)
def command(
    host: str, port: str | None, opens: bool, token: str | None, log_format: str, **flags: Any
) -> int:
    """Serve the page and the API until Ctrl-C.

    \b
    reknit serve --open
    reknit serve --host 0.0.0.0 --port 8000      others need the token that is printed
    """
    if log_format not in FORMATS:
        raise InputError(
            f"--log-format is text or json, not {log_format!r}", code="option.value", hint="text"
        )
    number = NUMBERS["port"].check(PORT if port is None else port)
    token = _token(token, public=host not in LOOPBACK)
    _log(log_format)
    from reknit.server import listen
    from reknit.server.app import create_app

    settings = _settings(host, token, flags)
    listening = listen.bound(host, number)
    number = listening.getsockname()[1]
    address = _address(host, number) + (f"?token={token}" if token else "")

    def ready() -> None:
        click.echo(f"Reknit is at {address}")
        sys.stdout.flush()
        if opens:
            import threading
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    if flags["ray"] is None:
        listen.run(create_app(settings), listening, ready=ready)
        return 0
    from reknit.server import on_ray

    listening.close()  # it was free; Ray's proxy listens there
    replicas = None if flags["ray_replicas"] is None else REPLICAS.check(flags["ray_replicas"])
    on_ray.run(settings, address=flags["ray"], replicas=replicas, host=host, port=number, ready=ready)
    return 0


def _settings(host: str, token: str, flags: dict[str, Any]) -> ServeSettings:
    from reknit.config import data_folder, load
    from reknit.core.codec import Limits
    from reknit.server import batch_work
    from reknit.server.guard import Rules
    from reknit.server.rooms import GIB, MAX_PIXELS, ServeSettings

    settings = load({"data_dir": None if flags["data_dir"] is None else str(flags["data_dir"])})
    upload, queued, days, gib = (
        NUMBERS[name].check(NUMBERS[name].default if flags[name] is None else flags[name])
        for name in ("max_upload", "max_queued", "keep_days", "keep_gib")
    )
    max_bytes = min(upload * 2**20, settings["max_bytes"].value)
    names = {name.lower() for name in flags["hosts"]}
    if host in ANYWHERE:
        names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
    rules = Rules(
        hosts=frozenset(names | {host.lower()}),
        any_address=host in ANYWHERE,
        token=token,
        cors_origins=frozenset(origin.rstrip("/") for origin in flags["origins"]),
        max_upload_bytes=max_bytes,
    )
    roots = tuple(batch_work.named(flags["roots"]).values()) if flags["roots"] else ()
    max_pixels = min(MAX_PIXELS, settings["max_pixels"].value)
    return ServeSettings(
        batch_roots=roots,
        data_dir=data_folder(settings["data_dir"].value).absolute(),
        models_dir=flags["models_dir"] and flags["models_dir"].absolute(),
        rules=rules,
        limits=Limits(max_bytes=max_bytes, max_pixels=max_pixels),
        threads=settings["threads"].value,
        max_queued=queued,
        keep_s=days * 86400,
        keep_bytes=int(gib * GIB),
        defaults={name: settings[name].value for name in ("engine", "grow", "feather")},
    )


def _token(given: str | None, *, public: bool) -> str:
    """Return the token to ask for: the given one, a new one where one is needed, or none."""
    if given is None and not public:
        return ""
    if not given:
        return secrets.token_urlsafe(24)
    if len(given) < LEAST_TOKEN or not all(c.isascii() and (c.isalnum() or c in "-._~") for c in given):
        raise InputError(
            f"a token has at least {LEAST_TOKEN} letters, digits or - . _ ~",
            code="option.value",
            hint="leave the text away and a good one is made",
        )
    return given


def _address(host: str, port: int) -> str:
    name = host
    if host in ANYWHERE:
        name = _own_address()
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def _own_address() -> str:
    """Return this machine's address on its network, as its routing table tells; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def _log(form: str) -> None:
    """Send the server's log to standard error; the access log only as JSON."""
    from reknit.server.log import JsonLines

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("reknit")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO if form == "json" else logging.WARNING)
    for quiet in ("uvicorn.error", "asyncio"):  # clients that go away are no news
        logging.getLogger(quiet).setLevel(logging.CRITICAL)
