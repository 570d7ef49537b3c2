"""Engines whose fill comes from a trained network, and the session that runs one over any runtime.

`LearnedEngine` is a name and what is fit for a family of models; `configured` ties it to a file, whose runtime
(ONNX, TorchScript) is imported only when it is loaded. `LearnedSession` brings a crop to the network and back by
the network's contract and keeps watch while it works. Nothing here knows regions, compositing or downloads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from reknit.core.errors import EngineFailed, InputError, Unavailable
from reknit.core.fit import SizeRule
from reknit.core.geometry import round_up
from reknit.core.options import Option
from reknit.core.progress import Report
from reknit.engines.base import Crop, EngineSpec, Models, Samples, Session
from reknit.engines.contracts import (
    MULTIPLE,
    Contract,
    Graph,
    Tensor,
    Tensors,
    pack,
    parse,
    read_graph,
    settle,
    unpack,
)

if TYPE_CHECKING:
    from reknit.models.catalog import ModelCard

T = TypeVar("T")

RUNTIMES = {"onnx": "onnxruntime", "torchscript": "torch"}
"""The module that runs each kind of file."""

GOOD_PX = 512
"""The side of crops for models of any size that say nothing better: what networks of this kind were trained near."""

NOTEBOOK = "ways.json"
"""In the models' folder: how each network runs best on this machine."""

_POLL_S = 0.05
_SECONDS_PER_PIXEL = 6e-6  # of a first run, for the progress bar only

OPTIONS = (
    Option(
        name="model",
        kind="text",
        default=None,
        help="a model's id or file; by default the first of its kind that is installed",
    ),
    Option(
        name="side",
        kind="int",
        default=None,
        minimum=64,
        maximum=4096,
        unit="px",
        help="the side of crops at which the network works, where the model takes any; larger costs time and memory",
    ),
    Option(
        name="device",
        kind="choice",
        choices=("auto", "cuda", "directml", "coreml", "cpu"),
        default="auto",
        help="where the network runs; auto takes the first that is there",
    ),
    Option(
        name="contract",
        kind="text",
        default=None,
        help="what the numbers of an unknown model mean, such as 'image=0..1 mask=1=hole output=0..255'",
    ),
)


class Run(Protocol):
    """One run of a network."""

    def infer(self) -> Any:
        """Run to the end and return the picture's tensor."""
        ...

    def stop(self) -> None:
        """Ask `infer`, in another thread, to end soon; a run that cannot goes on and is given up."""
        ...


class Network(Protocol):
    """A loaded network, whatever runs it; several runs may go side by side."""

    @property
    def graph(self) -> Graph:
        """Which tensor is what."""
        ...

    @property
    def settled(self) -> dict[frozenset[tuple[str, str]], Contract]:
        """Contracts found out before, by what was stated."""
        ...

    def begin(self, inputs: Tensors) -> Run:
        """Return a run over these inputs that has not started yet."""
        ...


@dataclass(slots=True, kw_only=True)
class LearnedSession:
    """A `Session` of a network.

    Attributes
    ----------
    name : str
        The engine's.
    network : Network
    contract : Contract
    """

    name: str
    network: Network
    contract: Contract
    _pixel_s: float = field(default=_SECONDS_PER_PIXEL, init=False)

    def run(self, crop: Crop, params: Mapping[str, Any], seed: int, report: Report) -> Samples:
        """Return what the network made of the crop, in the hole and around it.

        ``params`` were heeded when the session was loaded.
        """
        report.step("fill", 0.0)
        if crop.hole.all():
            raise InputError(
                "the hole leaves nothing to fill it from", code="mask.full", hint="mask a smaller part"
            )
        if not crop.hole.any():
            return crop.pixels.copy()
        inputs = pack(self.network.graph, self.contract, crop.pixels, crop.hole, seed=seed)
        expected_s = self._pixel_s * crop.hole.size
        start = time.monotonic()
        run = self.network.begin(inputs)
        output = watched(run.infer, stop=run.stop, expected_s=expected_s, report=report)
        self._pixel_s = (time.monotonic() - start) / crop.hole.size
        made = unpack(self.network.graph, self.contract, output)
        if made.shape != crop.pixels.shape:
            raise EngineFailed(
                f"engine {self.name}: the model drew {made.shape} for a crop of {crop.pixels.shape}",
                code="engine.contract",
                hint="it takes other sizes than its file says",
            )
        report.step("fill", 1.0)
        return made


def watched(work: Callable[[], T], *, stop: Callable[[], None], expected_s: float, report: Report) -> T:
    """Return ``work()``, done in a thread of its own while this one reports.

    When the report raises, ``stop()`` is called and the work, however it ends, is thrown away.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    # Not a daemon: an interpreter that ends while native code runs in one aborts.
    thread = threading.Thread(target=run, name="reknit-network")
    start = time.monotonic()
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_S)
            waited = (time.monotonic() - start) / max(expected_s, 1e-3)
            report.step("fill", waited / (1 + waited))
    except BaseException:
        stop()
        raise
    if failed:
        raise failed[0]
    return done[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedEngine:
    """An engine that runs networks of one family, or of any.

    Attributes
    ----------
    spec : EngineSpec
        Of the family; of the very model, once `configured`.
    families : tuple of str
        Which models it takes; empty for any.
    file : Path or None
        The model's file; None until `configured`.
    stated : mapping of str to str
        What is known of the model's contract.
    device : str
    notebook : Path or None
        Where it is kept how networks run best on this machine.
    """

    spec: EngineSpec
    families: tuple[str, ...] = ()
    file: Path | None = None
    stated: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    device: str = "auto"
    notebook: Path | None = None

    def configured(self, params: Mapping[str, Any], models: Models | None) -> LearnedEngine:
        """Return this engine for one model, with the sizes that it takes.

        Raises
        ------
        NotFound, Unavailable, InputError, ExternalError
            There is no such model, it is not installed, or it is of another kind.
        """
        found = find(params["model"], families=self.families, engine=self.spec.name, models=models)
        stated = dict(found.contract)
        if params["contract"]:
            stated |= parse(params["contract"])
        rule = found.rule or _rule(found.file)
        side = params["side"] or rule.native_px or GOOD_PX
        if not rule.fixed:
            rule = SizeRule(multiple=rule.multiple, max_px=round_up(side, rule.multiple))
        spec = replace(self.spec, size_rule=rule, good_px=rule.native_px or rule.max_px)
        return replace(
            self,
            spec=spec,
            file=found.file,
            stated=MappingProxyType(stated),
            device=params["device"],
            notebook=None if models is None else models().models_dir / NOTEBOOK,
        )

    def network(self, *, threads: int) -> Network:
        """Return the loaded network."""
        if self.file is None:
            raise Unavailable(
                f"engine {self.spec.name} has no model to run",
                code="model.missing",
                hint="-p model=FILE names one; `reknit models list` shows which there are",
            )
        if is_torchscript(self.file):
            from reknit.engines import torchscript

            return torchscript.load(self.file, threads=threads, device=self.device, notebook=self.notebook)
        from reknit.engines import onnx

        return onnx.load(self.file, threads=threads, device=self.device)

    def load(self, *, threads: int) -> Session:
        """Return a session; what of the model's contract is not known is found out by a trial."""
        network = self.network(threads=threads)
        key = frozenset(self.stated.items())
        if key not in network.settled:
            network.settled[key] = settle(
                network.graph, self.stated, lambda given: network.begin(given).infer()
            )
        return LearnedSession(name=self.spec.name, network=network, contract=network.settled[key])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model's file, and what is known without opening it.

    Attributes
    ----------
    file : Path
    contract : mapping of str to str
    rule : SizeRule or None
        None where only the file tells.
    """

    file: Path
    contract: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rule: SizeRule | None = None


def find(model: str | None, *, families: tuple[str, ...], engine: str, models: Models | None) -> Found:
    """Return the model that is meant by an id or a path, or the first installed one of some families.

    Raises
    ------
    Unavailable
        ``model.missing``: it is known, but not on this machine; nothing is downloaded.
    NotFound
        ``model.unknown``: neither a file nor a known id.
    InputError
        ``model.family``: another engine runs it.
    """
    from reknit.models import catalog
    from reknit.models.store import missing

    store = None if models is None else models()
    if model is not None and Path(model).is_file():
        card = None if store is None else store.known_as(Path(model))
        return Found(file=Path(model)) if card is None else _found(card, Path(model))
    cards = catalog.load() if store is None else store.cards
    if model is not None:
        card = catalog.find(model, cards)
        if card.engine not in RUNTIMES or (families and card.family not in families):
            raise InputError(
                f"engine {engine} does not run {card.id}: {card.title}",
                code="model.family",
                hint="`reknit models list` shows each model's engine",
                model=card.id,
            )
        wanted = [card]
    else:
        wanted = installable(cards.values(), families)
    for card in wanted:
        found = None if store is None else store.look(card)
        if found is not None:
            return _found(card, found.main)
    if not wanted:
        raise Unavailable(
            f"engine {engine} needs a model file",
            code="model.missing",
            hint="name an ONNX or TorchScript file: -p model=FILE",
            engine=engine,
        )
    raise missing(wanted[0])


def installable(cards: Iterable[ModelCard], families: tuple[str, ...]) -> list[ModelCard]:
    """Return the models of some families that could run here, the first choice first."""
    there = [name for name, module in RUNTIMES.items() if find_spec(module) is not None]
    return [card for card in cards if card.family in families and card.engine in there]


def _found(card: ModelCard, path: Path) -> Found:
    rule = SizeRule(multiple=card.multiple_of, native_px=card.native_px, fixed=card.fixed_size)
    if card.fixed_size:
        rule = replace(rule, multiple=1)
    return Found(file=path, contract=card.contract or MappingProxyType({}), rule=rule)


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a zip archive, as TorchScript's are; ONNX files are not."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _rule(path: Path) -> SizeRule:
    """Return what sizes an unknown file takes, from its header."""
    if is_torchscript(path):
        return SizeRule(multiple=MULTIPLE)
    graph = header_graph(path)
    if graph.height is None or graph.width is None:
        return SizeRule(multiple=MULTIPLE)
    if graph.height != graph.width:
        raise InputError(
            f"the model takes only crops of {graph.width} x {graph.height} px",
            code="model.kind",
            hint="Reknit runs models of any size, or of a fixed square",
        )
    return SizeRule(native_px=graph.height, fixed=True)


def header_graph(path: Path) -> Graph:
    """Return which of an ONNX file's tensors is what, without loading it.

    Raises
    ------
    InputError
        ``model.damaged``, ``model.kind``
    """
    from reknit.models import onnx_graph

    header = onnx_graph.read(path)

    def listed(tensors: Mapping[str, Any]) -> list[Tensor]:
        return [
            Tensor(
                name=name,
                shape=tuple(n if isinstance(n, int) and n > 0 else None for n in tensor.shape),
                dtype=tensor.dtype,
            )
            for name, tensor in tensors.items()
        ]

    return read_graph(listed(header.inputs), listed(header.outputs))


def _engine(name: str, title: str, *families: str, seeded: bool = False) -> LearnedEngine:
    spec = EngineSpec(
        name=name,
        title=title,
        options=OPTIONS,
        context=0.5,
        context_min_px=64,
        context_max_px=2048,
        good_px=GOOD_PX,
        feather_px=8,
        match_rim=True,
        side_by_side=False,
        seeded=seeded,
        needs_model=True,
        seconds_per_hole_px=0,
        seconds_per_region=2.0,  # of LaMa; python -m bench.learned
        bytes_per_crop_px=700,
    )
    return LearnedEngine(spec=spec, families=families)


LAMA = _engine("lama", "LaMa: large holes in structured and repeating surroundings; needs a model", "lama")
"""Suvorov et al., Resolution-robust Large Mask Inpainting with Fourier Convolutions, WACV 2022,
doi:10.1109/WACV51458.2022.00323."""

MIGAN = _engine("migan", "MI-GAN: small and quick, 512 px; needs a model", "migan")
"""Sargsyan et al., MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices, ICCV 2023,
doi:10.1109/ICCV51070.2023.00674."""

MAT = _engine("mat", "MAT: large holes, several answers; needs an ONNX file of it", "mat", seeded=True)
"""Li et al., MAT: Mask-Aware Transformer for Large Hole Image Inpainting, CVPR 2022,
doi:10.1109/CVPR52688.2022.01049."""

NETWORK = _engine("network", "Any inpainting network in an ONNX or TorchScript file: -p model=FILE")
