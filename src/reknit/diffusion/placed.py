"""A checkpoint on a device: its parts brought there when they are used, as a `Placement` says.

Whoever computes enters ``placed.using(part)`` and finds the part ready; what offloading hooks were put on is taken
off again by ``free``. It knows no stage's arithmetic.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from reknit.diffusion.checkpoint import Checkpoint
from reknit.diffusion.components import cast
from reknit.diffusion.memory import OutOfMemory, memory_guard
from reknit.diffusion.placement import Placement
from reknit.diffusion.weights import extra

PARTS = ("text", "vae", "denoiser")


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

    def __init__(self, checkpoint: Checkpoint, placement: Placement) -> None:
        torch = extra("torch")
        self.checkpoint = checkpoint
        self.placement = placement
        self.device = torch.device(placement.device)
        self.dtype = getattr(torch, placement.dtype)
        upcast = bool(checkpoint.vae.config.get("force_upcast")) and self.dtype == torch.float16
        self.vae_dtype = torch.float32 if upcast else self.dtype

    def networks(self, part: str) -> tuple[Any, ...]:
        """Return the networks of a part: ``text``, ``vae`` or ``denoiser``."""
        if part == "text":
            return self.checkpoint.text_encoders
        return (self.checkpoint.vae,) if part == "vae" else (self.checkpoint.denoiser,)

    @contextmanager
    def using(self, part: str) -> Generator[None]:
        """Have a part on the device inside the ``with``; under ``offload='model'`` it leaves it afterwards."""
        if self.placement.offload != "model":
            yield
            return
        for network in self.networks(part):
            network.to(self.device)
        try:
            yield
        finally:
            for network in self.networks(part):
                network.to("cpu")
            _empty(self.device)

    def free(self) -> None:
        """Take the checkpoint off the device; its networks stay usable in main memory."""
        for part in PARTS:
            for network in self.networks(part):
                network.to("cpu")
        _empty(self.device)


def place(checkpoint: Checkpoint, placement: Placement) -> Placed:
    """Bring a checkpoint to a device as a placement says, and return it placed.

    Raises
    ------
    OutOfMemory
    """
    placed = Placed(checkpoint, placement)
    with memory_guard("placing"):
        for part in PARTS:
            for network in placed.networks(part):
                cast(network, placed.vae_dtype if part == "vae" else placed.dtype)
                if placement.offload == "none":
                    network.to(placed.device)
    return placed


def _empty(device: Any) -> None:
    torch = extra("torch")
    module: Any = getattr(torch, device.type, None)
    if device.type != "cpu" and hasattr(module, "empty_cache"):
        module.empty_cache()


__all__ = ["PARTS", "OutOfMemory", "Placed", "memory_guard", "place"]
