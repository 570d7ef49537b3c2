"""A checkpoint on a device: its parts brought there when they are used, as a `Placement` says.

Whoever computes enters ``placed.using(part)`` and finds the part ready; what offloading put on the networks is
taken off again by ``free``. It knows no stage's arithmetic.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from reknit.diffusion.checkpoint import Checkpoint
from reknit.diffusion.components import BUILDING, cast
from reknit.diffusion.memory import OutOfMemory, memory_guard
from reknit.diffusion.placement import Placement
from reknit.diffusion.quantise import quantise
from reknit.diffusion.weights import extra

TILE_PX = 512
"""The side of the tiles that a tiled VAE works in, at most."""

PARTS = ("text", "vae", "denoiser")
_GROUPS = ("group_offloading", "lazy_prefetch_group_offloading", "layer_execution_tracker")
"""What diffusers calls the hooks of group offloading."""


class Placed:
    """A checkpoint that is ready to compute; made by `place`.

    Attributes
    ----------
    checkpoint : Checkpoint
    placement : Placement
    device : torch.device
        Where inputs belong and outputs appear.
    dtype : torch.dtype
        What the denoiser and the text encoders compute in.
    vae_dtype : torch.dtype
        What the VAE computes in: float32 where half precision would overflow.
    """

    __slots__ = ("_depth", "checkpoint", "device", "dtype", "placement", "vae_dtype")

    def __init__(self, checkpoint: Checkpoint, placement: Placement) -> None:
        torch = extra("torch")
        self.checkpoint = checkpoint
        self.placement = placement
        self.device = torch.device(placement.device)
        self.dtype = getattr(torch, placement.dtype)
        careful = checkpoint.vae is not None and bool(checkpoint.vae.config.get("force_upcast"))
        upcast = careful and self.dtype == torch.float16
        self.vae_dtype = torch.float32 if upcast else self.dtype
        self._depth: dict[str, int] = dict.fromkeys(PARTS, 0)

    def networks(self, part: str) -> tuple[Any, ...]:
        """Return the networks of a part: ``text``, ``vae`` or ``denoiser``; none where it was not opened."""
        if part == "text":
            return self.checkpoint.text_encoders
        network = self.checkpoint.vae if part == "vae" else self.checkpoint.denoiser
        return () if network is None else (network,)

    @contextmanager
    def using(self, part: str) -> Generator[None]:
        """Have a part on the device inside the ``with``; under ``offload='model'`` it leaves it afterwards.

        It may be entered again inside itself.

        Raises
        ------
        OutOfMemory
        """
        if self.placement.offload != "model":
            yield
            return
        self._depth[part] += 1
        try:
            if self._depth[part] == 1:
                with memory_guard(f"bringing the {part} to {self.device}", self.device):
                    for network in self.networks(part):
                        _to(network, self.device)
            yield
        finally:
            self._depth[part] -= 1
            if self._depth[part] == 0:
                for network in self.networks(part):
                    _to(network, "cpu")
                _empty_cache(self.device)

    @contextmanager
    def altering(self) -> Generator[None]:
        """Have the networks without hooks inside the ``with``, to add layers to them; afterwards they are as before.

        Raises
        ------
        OutOfMemory
        """
        hooked = self.placement.offload in ("group", "sequential")
        if hooked:
            self.free()
        try:
            yield
        finally:
            if hooked:
                _arrange(self)
            elif self.placement.offload == "none":
                with memory_guard("adding layers", self.device):
                    for network in (*self.networks("text"), *self.networks("denoiser")):
                        _to(network, self.device)

    def free(self) -> None:
        """Take the checkpoint off the device and its hooks off the networks; they stay usable in main memory."""
        for part in PARTS:
            for network in self.networks(part):
                _unhook(network, self.placement.offload)
                _to(network, "cpu")
        if self.placement.compile:
            for denoiser in self.networks("denoiser"):
                for module in denoiser.modules():
                    module._compiled_call_impl = None  # what Module.compile set
        _empty_cache(self.device)


def place(checkpoint: Checkpoint, placement: Placement) -> Placed:
    """Bring a checkpoint to a device as a placement says, and return it placed.

    The checkpoint's networks are changed: they get the placement's types, and quantised weights stay so. LoRAs are
    loaded before.

    Raises
    ------
    OutOfMemory
        Nothing is left on the device.
    InputError
        ``placement.quantise``
    Unavailable
        ``engine.missing``
    """
    placed = Placed(checkpoint, placement)
    _arrange(placed)
    return placed


def _arrange(placed: Placed) -> None:
    try:
        with memory_guard(f"placing the model on {placed.device}", placed.device):
            _prepare(placed)
            for part in PARTS:
                for network in placed.networks(part):
                    _offload(network, placed, blocks=part == "denoiser")
    except BaseException:
        placed.free()
        raise


def _prepare(placed: Placed) -> None:
    """Bring all networks to their types and their ways of computing, where they lie."""
    placement = placed.placement
    for network in placed.networks("text"):
        cast(network, placed.dtype)
    for vae in placed.networks("vae"):
        cast(vae, placed.vae_dtype)
        vae.enable_tiling() if placement.vae_tiling else vae.disable_tiling()
        if vae.tile_sample_min_size > TILE_PX:  # the default, 1024 for many, would tile nothing at 1024²
            vae.tile_latent_min_size = vae.tile_latent_min_size * TILE_PX // vae.tile_sample_min_size
            vae.tile_sample_min_size = TILE_PX
        vae.enable_slicing() if placement.vae_slicing else vae.disable_slicing()
        _lay_out(vae, placed.device, last=True)
    for denoiser in placed.networks("denoiser"):
        with BUILDING:
            quantise(denoiser, placement.quantise, placed.dtype)
        slower = placed.device.type == "cpu" and placement.dtype == "float32"  # by 8 %, with channels last
        _lay_out(denoiser, placed.device, last=not slower)
        if hasattr(denoiser, "set_attention_slice"):
            _slice(denoiser, placement.attention_slicing)
        if placement.compile:
            denoiser.compile_repeated_blocks()


def _lay_out(network: Any, device: Any, *, last: bool) -> None:
    """Lay weights out with their channels last, or as they come from a file."""
    torch = extra("torch")
    if device.type != "mps":
        order = torch.channels_last if last else torch.contiguous_format
        torch.nn.Module.to(network, memory_format=order)


def _slice(denoiser: Any, wanted: bool) -> None:
    """Compute attention in slices, or in one piece by PyTorch's own function, which is diffusers' default."""
    if wanted:
        denoiser.set_attention_slice("auto")
    elif any("Sliced" in type(each).__name__ for each in denoiser.attn_processors.values()):
        denoiser.set_attention_slice(None)


def _offload(network: Any, placed: Placed, *, blocks: bool) -> None:
    offload, device = placed.placement.offload, placed.device
    if offload == "none":
        _to(network, device)
    elif offload == "sequential":
        extra("accelerate").cpu_offload(network, execution_device=device)
    elif offload == "group":
        extra("diffusers.hooks").apply_group_offloading(
            network,
            onload_device=device,
            offload_device=extra("torch").device("cpu"),
            offload_type="block_level" if blocks else "leaf_level",
            num_blocks_per_group=1 if blocks else None,
            use_stream=device.type == "cuda",
        )


def _unhook(network: Any, offload: str) -> None:
    if offload == "sequential":
        extra("accelerate.hooks").remove_hook_from_module(network, recurse=True)
    elif offload == "group":
        for module in network.modules():
            registry: Any = getattr(module, "_diffusers_hook", None)
            if registry is None:
                continue
            for name in _GROUPS:
                if registry.get_hook(name) is not None:
                    registry.remove_hook(name, recurse=False)


def _to(network: Any, device: Any) -> None:
    """Move a network; the classes' own methods warn of what is meant here."""
    extra("torch").nn.Module.to(network, device)


def _empty_cache(device: Any) -> None:
    module: Any = getattr(extra("torch"), device.type, None)
    if device.type != "cpu" and hasattr(module, "empty_cache"):
        module.empty_cache()


__all__ = ["PARTS", "OutOfMemory", "Placed", "memory_guard", "place"]
