"""Networks in ONNX files, run by onnxruntime on whatever it finds: CUDA, DirectML, Core ML or the processor.

Loaded files are kept by path and threads, so that regions, variations and requests share them, up to a budget of
bytes; `free` lets go of all. onnxruntime is imported when the first file is loaded. Files are data: nothing in
them is executed by Python. Nothing here knows what a network's numbers mean.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from reknit.core.errors import EngineFailed, ExternalError, Unavailable
from reknit.engines.contracts import Contract, Graph, Tensor, Tensors, read_graph

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""By device, the first that is there is taken."""

BUDGET_BYTES = 2 * 2**30
"""Files up to this size in all stay loaded, and always the last one."""

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
_NO_MEMORY = ("allocate memory", "bad_alloc", "out of memory", "available memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRun:
    """A `Run` of an ONNX network."""

    session: Any
    inputs: Tensors
    output: str
    options: Any

    def infer(self) -> NDArray[Any]:
        """Run the network and return the picture's tensor.

        Raises
        ------
        MemoryError
            There was not enough.
        EngineFailed
            ``engine.onnx``: onnxruntime could not run it, or it was stopped.
        """
        try:
            return self.session.run([self.output], dict(self.inputs), self.options)[0]
        except Exception as error:  # onnxruntime's errors have no common base
            reason = str(error)
            if any(words in reason.lower() for words in _NO_MEMORY):
                raise MemoryError(reason) from error
            raise EngineFailed(
                "onnxruntime could not run the model",
                code="engine.onnx",
                hint="it may want another size or device; -p device=cpu runs on the processor",
                reason=reason[:500],
            ) from error

    def stop(self) -> None:
        """End the run; on a CPU within about 0.1 s."""
        self.options.terminate = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNetwork:
    """A `Network` in an ONNX file.

    Attributes
    ----------
    graph : Graph
    device : str
        A key of `PROVIDERS`.
    session : onnxruntime.InferenceSession
    settled : dict
    """

    graph: Graph
    device: str
    session: Any
    settled: dict[frozenset[tuple[str, str]], Contract] = field(default_factory=dict[Any, Contract])

    def begin(self, inputs: Tensors) -> OnnxRun:
        """Return a run over these inputs that has not started yet."""
        options = _module().RunOptions()
        options.log_severity_level = 4
        return OnnxRun(session=self.session, inputs=inputs, output=self.graph.output.name, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What makes a loaded file another one."""

    path: Path
    changed_ns: int
    threads: int
    device: str


@dataclass(slots=True)
class _Kept:
    """The loaded files, the last used one at the end."""

    networks: OrderedDict[_Key, tuple[OnnxNetwork, int]] = field(default_factory=OrderedDict[Any, Any])
    lock: threading.Lock = field(default_factory=threading.Lock)


_kept = _Kept()


def load(path: Path, *, threads: int, device: str = "auto") -> OnnxNetwork:
    """Return the network in ``path``; the same one for the same file, threads and device.

    Raises
    ------
    Unavailable
        ``engine.missing``: no onnxruntime; ``device.missing``: not that device.
    ExternalError
        ``model.unreadable``: not a file that onnxruntime can load.
    InputError
        ``model.kind``: a network of another kind.
    """
    device = _device(device)
    try:
        facts = path.stat()
    except OSError as error:
        raise unreadable(path, str(error)) from error
    key = _Key(path=path.absolute(), changed_ns=facts.st_mtime_ns, threads=threads, device=device)
    with _kept.lock:
        if key not in _kept.networks:
            _kept.networks[key] = _opened(path, threads, device), facts.st_size
        _kept.networks.move_to_end(key)
        while len(_kept.networks) > 1 and sum(n for _, n in _kept.networks.values()) > BUDGET_BYTES:
            _kept.networks.popitem(last=False)
        return _kept.networks[key][0]


def free() -> None:
    """Let go of every loaded file; memory is free when nobody runs it any more."""
    with _kept.lock:
        _kept.networks.clear()


def unreadable(path: Path, why: str) -> ExternalError:
    """Return the error for a file that cannot be loaded."""
    return ExternalError(
        f"{path.name} cannot be loaded as a model",
        code="model.unreadable",
        hint="it may be damaged or incomplete: `reknit models verify` tells",
        path=str(path),
        reason=why[:500],
    )


def _opened(path: Path, threads: int, device: str) -> OnnxNetwork:
    module = _module()
    options = module.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if device == "directml":  # it cannot run otherwise
        options.enable_mem_pattern = False
        options.execution_mode = module.ExecutionMode.ORT_SEQUENTIAL
    providers = list(dict.fromkeys((PROVIDERS[device], PROVIDERS["cpu"])))
    try:
        session = module.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no common base
        if any(words in str(error).lower() for words in _NO_MEMORY):
            raise MemoryError(str(error)) from error
        raise unreadable(path, str(error)) from error
    return OnnxNetwork(
        graph=read_graph(_tensors(session.get_inputs()), _tensors(session.get_outputs())),
        device=device,
        session=session,
    )


def _tensors(described: Sequence[Any]) -> list[Tensor]:
    return [
        Tensor(
            name=item.name,
            shape=tuple(n if isinstance(n, int) and n > 0 else None for n in item.shape or ()),
            dtype=str(_TYPES.get(item.type, item.type)),
        )
        for item in described
    ]


def _device(wanted: str) -> str:
    there = _module().get_available_providers()
    found = [name for name, provider in PROVIDERS.items() if provider in there]
    if wanted == "auto":
        return found[0]
    if wanted not in found:
        raise Unavailable(
            f"onnxruntime cannot use {wanted} here",
            code="device.missing",
            hint=f"it can use {', '.join(found)}; onnxruntime-gpu brings cuda, onnxruntime-directml directml",
            device=wanted,
        )
    return wanted


def _module() -> Any:
    try:
        import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise Unavailable(
            "ONNX models need the module 'onnxruntime', which is not installed",
            code="engine.missing",
            hint="pip install onnxruntime",
        ) from None
    return onnxruntime
