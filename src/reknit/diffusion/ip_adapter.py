"""IP-Adapters: a picture beside the prompt, through further attention layers in a UNet (Ye et al., arXiv:2308.06721).

It finds an adapter and the vision network that it was trained with, puts diffusers' own classes of it into a placed
checkpoint and takes them out again, and turns a picture into what they attend to. Those for faces need a network
that recognises faces and are refused. It reaches for no network.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reknit.core.errors import InputError, NotFound
from reknit.diffusion import components, sources, weights
from reknit.diffusion.memory import memory_guard
from reknit.diffusion.stage_cache import StageCache, key_of
from reknit.diffusion.weights import Tensors, shape
from reknit.models import layouts
from reknit.models.identify import identify

if TYPE_CHECKING:
    from reknit.diffusion.placed import Placed
    from reknit.models.store import Store

_BY_WIDTH = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
_VISION: dict[int, dict[str, Any]] = {
    # CLIP's vision networks by their width: ViT-L, ViT-H and ViT-bigG of laion
    1024: {"num_attention_heads": 16, "projection_dim": 768, "hidden_act": "quick_gelu"},
    1280: {"num_attention_heads": 16, "projection_dim": 1024, "hidden_act": "gelu"},
    1664: {"num_attention_heads": 16, "projection_dim": 1280, "hidden_act": "gelu"},
}
_HEADERS = ("image_proj.", "ip_adapter.")


@dataclass(slots=True, kw_only=True)
class Adapter:
    """An IP-Adapter, opened.

    Attributes
    ----------
    tensors : dict
        ``image_proj`` and ``ip_adapter``, as diffusers takes them.
    family : str
        Of the models it was made for.
    hidden : bool
        Whether it attends to the vision network's last layer but one ("plus"), not to the picture's embedding.
    vision : CLIPVisionModelWithProjection
    path : Path
    """

    tensors: dict[str, Tensors]
    family: str
    hidden: bool
    vision: Any
    path: Path


def locate_adapter(name: str | None, family: str, models: Store | None = None) -> Path:
    """Return where an IP-Adapter lies.

    Parameters
    ----------
    name
        As users call it; None for the first here that was made for the family, the plain one before its variants.
    family
        Of the model it is to be used with.
    models
        The models on this machine.

    Raises
    ------
    NotFound
        ``image-prompt.unknown``
    InputError
        ``image-prompt.family``, ``image-prompt.format``
    """
    if name:
        path = sources.named(name, "IP-Adapter", models, code="image-prompt.unknown")
        made = family_of(path)
        if made != family:
            raise InputError(
                f"the IP-Adapter {path.name} was made for {made}, and the model is {family}",
                code="image-prompt.family",
                hint=f"take an IP-Adapter for {family}",
                adapter=made,
                checkpoint=family,
            )
        return path
    known = sources.kept("IP-Adapter", models).values()
    for path in sorted(known, key=lambda path: (len(path.stem), path.stem)):
        if "ip-adapter" in path.name.lower() or "ip_adapter" in path.name.lower():
            with suppress(InputError):
                if family_of(path) == family:
                    return path
    raise NotFound(
        f"there is no IP-Adapter for {family} on this machine",
        code="image-prompt.unknown",
        hint="image_prompt_model=FILE names one, such as ip-adapter_sd15.safetensors of h94/IP-Adapter; "
        "its image encoder belongs beside it",
    )


def family_of(path: Path) -> str:
    """Return the family an IP-Adapter was made for, from its file's header.

    Raises
    ------
    InputError
        ``image-prompt.format``
    """
    found = identify(path)
    if found.kind != "image-prompt":
        raise _no_adapter(path)
    return found.family


def open_adapter(path: Path, models: Store | None = None, *, vision: Path | None = None) -> Adapter:
    """Open an IP-Adapter with its vision network.

    Parameters
    ----------
    path
        A ``.safetensors`` file in the layout its authors publish.
    models
        Where else the vision network may lie.
    vision
        The vision network: a file or a folder of transformers. By default a folder ``image_encoder`` beside the
        adapter's own, or a file in a folder ``clip_vision``, of the width that the adapter asks for.

    Raises
    ------
    InputError
        ``image-prompt.format``, ``model.damaged``, ``model.nan``
    NotFound
        ``image-encoder.unknown``
    """
    flat = weights.read(path)
    tensors = {
        head[:-1]: {n.removeprefix(head): t for n, t in flat.items() if n.startswith(head)}
        for head in _HEADERS
    }
    if not all(tensors.values()):
        raise _no_adapter(path)
    weights.check_finite(flat, str(path))
    asks = _asks(tensors["image_proj"], path)
    where = vision or _vision(path, asks, models)
    network = _opened(where)
    config = network.config
    if (config.hidden_size if asks[0] == "hidden" else config.projection_dim) != asks[1]:
        raise InputError(
            f"the image encoder {where} is not the one that {path.name} was trained with",
            code="image-prompt.format",
            hint="the encoder lies in the folder image_encoder of the adapter's repository",
        )
    width = next(shape(t)[1] for n, t in tensors["ip_adapter"].items() if n.endswith("to_k_ip.weight"))
    return Adapter(
        tensors=tensors,
        family=_BY_WIDTH.get(width, "unknown"),
        hidden=asks[0] == "hidden",
        vision=network,
        path=path,
    )


def put_in(adapter: Adapter | None, placed: Placed, weight: float = 1.0) -> None:
    """Have exactly this adapter in a placed checkpoint's UNet, with a weight; None for none.

    Raises
    ------
    InputError
        ``image-prompt.format``: its layers do not fit.
    """
    checkpoint = placed.checkpoint
    unet = checkpoint.denoiser
    if checkpoint.adapter is not adapter:
        with placed.altering():
            if checkpoint.adapter is not None:
                _take_out(unet)
                checkpoint.adapter = None
            if adapter is not None:
                _load(unet, adapter, placed.dtype)
                checkpoint.adapter = adapter
    if adapter is not None:
        for processor in unet.attn_processors.values():
            if hasattr(processor, "to_k_ip"):
                processor.scale = [weight] * len(processor.scale)


def embeddings(
    adapter: Adapter, picture: NDArray[np.uint8], placed: Placed, *, cache: StageCache | None = None
) -> tuple[Any, Any]:
    """Return what the adapter attends to, with the picture and without, each of a leading 1 and 1.

    Parameters
    ----------
    adapter
    picture : ndarray of uint8, (H, W, 3)
        Its middle square is looked at.
    placed
        Where the vision network computes.
    cache
        Of results by content.

    Raises
    ------
    OutOfMemory
    """
    key = key_of("image prompt", str(adapter.path), placed.placement.dtype, picture)
    kept = None if cache is None else cache.get(key)
    if kept is not None:
        return kept
    torch = weights.extra("torch")
    vision = components.cast(adapter.vision, placed.dtype)
    with memory_guard("looking at the image prompt", placed.device), torch.inference_mode():
        torch.nn.Module.to(vision, placed.device)
        try:
            pixels = _looked_at(picture, vision.config.image_size).to(placed.device, placed.dtype)
            if adapter.hidden:
                made = tuple(
                    vision(each, output_hidden_states=True).hidden_states[-2]
                    for each in (pixels, torch.zeros_like(pixels))
                )
            else:
                seen = vision(pixels).image_embeds
                made = (seen, torch.zeros_like(seen))
        finally:
            torch.nn.Module.to(vision, "cpu")
    made = tuple(each.unsqueeze(1).cpu() for each in made)
    if cache is not None:
        cache.put(key, made)
    return made[0], made[1]


def _looked_at(picture: NDArray[np.uint8], side: int) -> Any:
    """Return a picture as CLIP's vision networks were trained on, (1, 3, side, side)."""
    from PIL import Image

    transformers = weights.extra("transformers")
    made = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    processor = made(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return processor(images=Image.fromarray(picture), return_tensors="pt").pixel_values


def _load(unet: Any, adapter: Adapter, dtype: Any) -> None:
    embeddings = weights.extra("diffusers.models.embeddings")
    try:
        with components.BUILDING:
            layers = unet._convert_ip_adapter_attn_to_diffusers([adapter.tensors], low_cpu_mem_usage=False)
            projection = unet._convert_ip_adapter_image_proj_to_diffusers(
                adapter.tensors["image_proj"], low_cpu_mem_usage=False
            )
    except Exception as error:  # diffusers and torch raise whatever does not fit
        raise InputError(
            f"{adapter.path.name} cannot be used as an IP-Adapter of this model: {error}",
            code="image-prompt.format",
            hint="plain, plus and full-face adapters for Stable Diffusion 1.5 and XL are read",
        ) from error
    torch = weights.extra("torch")
    for layer in layers.values():
        if isinstance(layer, torch.nn.Module):
            components.cast(layer.eval().requires_grad_(False), dtype)
    unet.encoder_hid_proj = None  # its own attention layers are no layers of the UNet
    unet.set_attn_processor(layers)
    whole = embeddings.MultiIPAdapterImageProjection([projection])
    unet.encoder_hid_proj = components.cast(whole.eval().requires_grad_(False), dtype)
    unet.config.encoder_hid_dim_type = "ip_image_proj"


def _take_out(unet: Any) -> None:
    processors = weights.extra("diffusers.models.attention_processor")
    plain = {
        name: processors.AttnProcessor2_0() if hasattr(each, "to_k_ip") else each
        for name, each in unet.attn_processors.items()
    }
    unet.set_attn_processor(plain)
    unet.encoder_hid_proj = None
    unet.config.encoder_hid_dim_type = None


def _asks(projection: Mapping[str, Any], path: Path) -> tuple[str, int]:
    """Return what an adapter attends to, the vision network's layer or its embedding, and how wide that is."""
    for name, kind in (("proj.weight", "embeds"), ("proj.0.weight", "hidden"), ("proj_in.weight", "hidden")):
        if name in projection and not any("perceiver" in each for each in projection):
            if name == "proj.0.weight" and "proj.3.weight" not in projection:
                break
            return kind, shape(projection[name])[1]
    raise InputError(
        f"{path.name} looks at faces with a network of another kind",
        code="image-prompt.format",
        hint="plain, plus and full-face adapters are read; FaceID's are not",
    )


def _vision(path: Path, asks: tuple[str, int], models: Store | None) -> Path:
    near = [path.parent / "image_encoder", path.parent.parent / "models" / "image_encoder"]
    near += [path.parent.parent / "image_encoder", path.parent.parent / "clip_vision"]
    found = [each for folder in near if folder.is_dir() for each in layouts.weight_files(folder)]
    for each in [*found, *sources.kept("image encoder", models).values()]:
        with suppress(InputError, StopIteration):
            config = _config(weights.read(each))
            if asks[1] == config["hidden_size" if asks[0] == "hidden" else "projection_dim"]:
                return each
    raise NotFound(
        f"the image encoder of {path.name} is not here",
        code="image-encoder.unknown",
        hint="put the folder image_encoder of the adapter's repository beside it, or the encoder into a folder "
        "clip_vision",
    )


def _opened(where: Path) -> Any:
    file = weights.weight_file(where) if where.is_dir() else where
    if file is None or not file.is_file():
        raise NotFound(
            f"there is no image encoder {where}", code="image-encoder.unknown", hint="check the path"
        )
    tensors = weights.read(file)
    transformers = weights.extra("transformers")
    with components.weightless():
        config = transformers.CLIPVisionConfig(**_config(tensors))
        network = transformers.CLIPVisionModelWithProjection(config)
    return components.filled(network, tensors, str(file))


def _config(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that fits a vision network's weights."""
    head = next(name for name in tensors if name.endswith("embeddings.patch_embedding.weight"))
    start = head.removesuffix("embeddings.patch_embedding.weight")
    width, _, patch, _ = shape(tensors[head])
    places = shape(tensors[f"{start}embeddings.position_embedding.weight"])[0]
    layers = {name.split("encoder.layers.")[1].split(".")[0] for name in tensors if "encoder.layers." in name}
    inner = shape(tensors[f"{start}encoder.layers.0.mlp.fc1.weight"])[0]
    return {
        **_VISION.get(width, {"num_attention_heads": max(1, width // 64), "hidden_act": "gelu"}),
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "projection_dim": shape(tensors["visual_projection.weight"])[0],
        "patch_size": patch,
        "image_size": round((places - 1) ** 0.5) * patch,
    }


def _no_adapter(path: Path) -> InputError:
    return InputError(
        f"{path} is no IP-Adapter",
        code="image-prompt.format",
        hint="files with image_proj and ip_adapter are: h94/IP-Adapter has them",
        path=str(path),
    )
