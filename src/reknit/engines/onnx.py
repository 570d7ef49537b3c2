"""Networks in ONNX files, run by onnxruntime on whatever it finds: CUDA, DirectML, Core ML or the processor.

Loaded files are kept by `engines.kept`, so that regions, variations and requests share them. A session has its number
of threads for life: asked for another number, a file is loaded anew and the old copy goes, so that there is one copy
of its weights. On a GPU pictures are bound to its memory. onnxruntime is imported when
the first file is loaded. Files are data: nothing in them is executed by Python. Nothing here knows what a network's
numbers mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from reknit.core.errors import EngineFailed, ExternalError, Unavailable
from reknit.engines.contracts import Contract, Graph, Tensor, Tensors, read_graph
from reknit.engines.kept import KEPT

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""By device, the first that is there is taken."""

BOUND = {"cuda": "cuda", "directml": "dml"}
"""By device, what onnxruntime calls its memory; elsewhere there is nothing to bind to."""

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
    memory: str = ""

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
            if self.memory:
                return self._bound()
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

    def _bound(self) -> NDArray[Any]:
        """Run over inputs laid into the device's memory; only the picture comes back from there."""
        binding = self.session.io_binding()
        value = _module().OrtValue.ortvalue_from_numpy
        held = {name: value(array, self.memory, 0) for name, array in self.inputs.items()}
        for name, array in held.items():
            binding.bind_ortvalue_input(name, array)
        binding.bind_output(self.output, self.memory, 0)
        binding.synchronize_inputs()
        self.session.run_with_iobinding(binding, self.options)
        binding.synchronize_outputs()
        return binding.copy_outputs_to_cpu()[0]

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
    threads : int
    session : onnxruntime.InferenceSession
    settled : dict
    """

    graph: Graph
    device: str
    threads: int
    session: Any
    settled: dict[frozenset[tuple[str, str]], Contract] = field(default_factory=dict[Any, Contract])

    def begin(self, inputs: Tensors) -> OnnxRun:
        """Return a run over these inputs that has not started yet."""
        options = _module().RunOptions()
        options.log_severity_level = 4
        return OnnxRun(
            session=self.session,
            inputs=inputs,
            output=self.graph.output.name,
            options=options,
            memory=BOUND.get(self.device, ""),
        )


def load(path: Path, *, threads: int, device: str = "auto") -> OnnxNetwork:
    """Return the network in ``path``; the same one for the same file, device and threads.

    Raises
    ------
    Unavailable
        ``engine.missing``: no onnxruntime; ``device.missing``: not that device, or its libraries cannot be loaded.
    ExternalError
        ``model.unreadable``: not a file that onnxruntime can load.
    InputError
        ``model.kind``: a network of another kind.
    """
    device, wanted = _device(device), device
    try:
        facts = path.stat()
    except OSError as error:
        raise unreadable(path, str(error)) from error
    key = ("onnx", path.absolute(), facts.st_mtime_ns, device)

    def loaded() -> OnnxNetwork:
        network = _opened(path, threads, device)
        if wanted not in ("auto", network.device):
            raise _not_there(wanted, f"its libraries cannot be loaded; it can use {network.device}")
        return network

    return KEPT.get(
        key, loaded, device=device, size=facts.st_size, suits=lambda network: network.threads == threads
    )


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
    if device == "cuda" and hasattr(module, "preload_dlls"):
        module.preload_dlls()  # CUDA's libraries from their own packages, where those are installed
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
    first = session.get_providers()[0]  # not the wanted one where its libraries could not be loaded
    return OnnxNetwork(
        graph=read_graph(_tensors(session.get_inputs()), _tensors(session.get_outputs())),
        device=next(name for name, provider in PROVIDERS.items() if provider == first),
        threads=threads,
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


def devices() -> list[str]:
    """Return what onnxruntime can run on as it is built, the quickest first."""
    there = _module().get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in there]


def _device(wanted: str) -> str:
    found = devices()
    if wanted == "auto":
        return found[0]
    if wanted not in found:
        raise _not_there(wanted, f"it can use {', '.join(found)}")
    return wanted


def _not_there(device: str, why: str) -> Unavailable:
    return Unavailable(
        f"onnxruntime cannot use {device} here",
        code="device.missing",
        hint=f"{why}; onnxruntime-gpu[cuda,cudnn] brings cuda, onnxruntime-directml directml",
        device=device,
    )


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
