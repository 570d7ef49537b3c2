"""Networks in TorchScript archives (``big-lama.pt`` and the like), run by PyTorch where that is installed.

An archive is a program for TorchScript's own interpreter, not a Python pickle, and is loaded by that alone. It does
not say what its tensors are, so they are taken from the number of its arguments and from a stated contract. One copy
of a file serves any number of threads. torch is imported when the first file is loaded. Nothing here knows what a
network's numbers mean.
"""

from __future__ import annotations

import logging
import threading
import warnings
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import EngineFailed, ExternalError, Unavailable
from reknit.engines.contracts import Contract, Graph, Tensor, Tensors, unknown
from reknit.engines.kept import KEPT
from reknit.engines.torch_ways import LEAST_PX, PLAIN, Way, chosen, recalled, remember, ways

_LOG = logging.getLogger(__name__)

_DEVICES = {"auto": "", "cuda": "cuda", "cpu": "cpu"}


@dataclass(slots=True, kw_only=True)
class Habit:
    """How a network is run on this machine, found out by its first run.

    Attributes
    ----------
    tried : tuple of Way
        What to choose from, the plain way first.
    key : str
        What the choice depends on, but for the threads.
    notebook : Path or None
        Where choices are kept.
    best : dict of int to Way
        By threads.
    layout : Way
        As the weights lie now.
    """

    tried: tuple[Way, ...] = (PLAIN,)
    key: str = ""
    notebook: Path | None = None
    best: dict[int, Way] = field(default_factory=dict[int, Way])
    layout: Way = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchNetwork:
    """A `Network` in a TorchScript archive. Its runs go one after another.

    Attributes
    ----------
    graph : Graph
    device : str
        ``"cuda"`` or ``"cpu"``.
    threads : int
        CPU threads. PyTorch has one number for the whole process; each run sets it.
    module : torch.jit.ScriptModule
    settled : dict
    turn : Lock
        Held by the run that is under way.
    habit : Habit
    """

    graph: Graph
    device: str
    threads: int
    module: Any
    settled: dict[frozenset[tuple[str, str]], Contract] = field(default_factory=dict[Any, Contract])
    turn: threading.Lock = field(default_factory=threading.Lock)
    habit: Habit = field(default_factory=Habit)

    def begin(self, inputs: Tensors) -> TorchRun:
        """Return a run over these inputs that has not started yet."""
        return TorchRun(network=self, inputs=inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchRun:
    """A `Run` of a TorchScript network; it cannot be interrupted."""

    network: TorchNetwork
    inputs: Tensors

    def infer(self) -> NDArray[Any]:
        """Run the network and return the picture's tensor.

        Raises
        ------
        MemoryError
            There was not enough.
        EngineFailed
            ``engine.torchscript``
        """
        torch: Any = _torch()
        network, habit = self.network, self.network.habit
        with network.turn, torch.inference_mode():
            if network.device == "cpu" and torch.get_num_threads() != network.threads:
                torch.set_num_threads(network.threads)
            if len(habit.tried) == 1 or self.inputs[network.graph.image.name].size < 3 * LEAST_PX:
                return self._made(torch, PLAIN)
            key = f"{habit.key} threads={network.threads}"
            way = habit.best.get(network.threads) or recalled(habit.notebook, key, habit.tried)
            if way is not None:
                habit.best[network.threads] = way
                return self._made(torch, way)
            best, picture, why = chosen(lambda way: self._made(torch, way), habit.tried)
            habit.best[network.threads] = best
            remember(habit.notebook, key, best)
            _LOG.info("%s is run %s", key, why)
            return picture

    def _made(self, torch: Any, way: Way) -> NDArray[Any]:
        network, graph, habit = self.network, self.network.graph, self.network.habit
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        if habit.layout.channels_last is not way.channels_last:
            network.module.to(memory_format=layout)
        habit.layout = way
        names = [t.name for t in (graph.image, graph.mask) if t is not None]
        given = [torch.from_numpy(np.array(self.inputs[name])).to(network.device) for name in names]
        try:
            if way.bf16:
                with torch.autocast("cpu", torch.bfloat16):
                    output: Any = network.module(*(one.contiguous(memory_format=layout) for one in given))
            else:
                output = network.module(*(one.contiguous(memory_format=layout) for one in given))
        except RuntimeError as error:
            if "memory" in str(error).lower():
                raise MemoryError(str(error)) from error
            raise EngineFailed(
                "PyTorch could not run the model",
                code="engine.torchscript",
                hint="it may want another size, or a contract: reknit engines torchscript",
                reason=str(error)[-500:],
            ) from error
        while not torch.is_tensor(output):  # a tuple, whose first is the picture
            output = output[0]
        return output.float().cpu().numpy()

    def stop(self) -> None:
        """Do nothing: the run goes on, and its result is thrown away."""


def load(path: Path, *, threads: int, device: str = "auto", notebook: Path | None = None) -> TorchNetwork:
    """Return the network in ``path``; one copy of its weights for the same file and device.

    Parameters
    ----------
    path : Path
    threads : int
    device : {'auto', 'cuda', 'cpu'}
    notebook : Path or None
        Where it is kept how each network runs best on this machine's processor.

    Raises
    ------
    Unavailable
        ``engine.missing``: no PyTorch; ``device.missing``: not that device.
    ExternalError
        ``model.unreadable``: not a TorchScript archive.
    InputError
        ``model.kind``: it takes neither one tensor nor two.
    """
    torch = _torch()
    where = _device(torch, device)
    try:
        facts = path.stat()
    except OSError as error:
        raise _unreadable(path, str(error)) from error
    key = ("torchscript", path.absolute(), facts.st_mtime_ns, where)

    def loaded() -> TorchNetwork:
        module = _opened(torch, path, where)
        habit = _habit(torch, path, where, facts.st_size, notebook)
        return TorchNetwork(graph=_graph(module), device=where, threads=threads, module=module, habit=habit)

    return replace(KEPT.get(key, loaded, device=where, size=facts.st_size), threads=threads)


def _habit(torch: Any, path: Path, device: str, size: int, notebook: Path | None) -> Habit:
    """Return what is to be tried with a network: nothing but the plain way beyond the CPU."""
    if device != "cpu":
        return Habit()
    facts: dict[str, Any] = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    key = f"{path.name} {size} B, torch {torch.__version__}, {facts.get('cpu_name', 'cpu')}"
    return Habit(tried=ways(facts), key=key, notebook=notebook)


def _opened(torch: Any, path: Path, device: str) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not any(name.endswith("/constants.pkl") for name in names) or not any(
            "/code/" in n for n in names
        ):
            raise ValueError("a zip file, but no TorchScript archive")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch, that it would rather have another format
            return torch.jit.load(str(path), map_location=device).eval()
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        if "memory" in str(error).lower():
            raise MemoryError(str(error)) from error
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> ExternalError:
    return ExternalError(
        f"{path.name} cannot be loaded as a TorchScript model",
        code="model.unreadable",
        hint="it may be damaged, incomplete, or a file of weights without their network",
        path=str(path),
        reason=why[-500:],
    )


def _graph(module: Any) -> Graph:
    names = [argument.name for argument in module.forward.schema.arguments][1:]
    inputs = [Tensor(name=name, shape=(), dtype="float32") for name in names]
    if len(names) not in (1, 2):
        raise unknown(inputs, [])
    sides = (None, None)
    channels = 3 if len(names) == 2 else 4
    return Graph(
        image=Tensor(name=names[0], shape=(None, channels, *sides), dtype="float32"),
        mask=Tensor(name=names[1], shape=(None, 1, *sides), dtype="float32") if len(names) == 2 else None,
        output=Tensor(name="output", shape=(None, 3, *sides), dtype="float32"),
        channels_last=False,
        height=None,
        width=None,
    )


def _device(torch: Any, wanted: str) -> str:
    has_cuda = bool(torch.cuda.is_available())
    if wanted == "auto":
        return "cuda" if has_cuda else "cpu"
    if wanted not in _DEVICES or (wanted == "cuda" and not has_cuda):
        raise Unavailable(
            f"PyTorch cannot use {wanted} for this here",
            code="device.missing",
            hint="-p device=auto takes what is there",
            device=wanted,
        )
    return wanted


def _torch() -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Unavailable(
            "TorchScript models need the module 'torch', which is not installed",
            code="engine.missing",
            hint="pip install 'reknit[torch]'; an ONNX file of the model needs no torch",
        ) from None
    return torch
