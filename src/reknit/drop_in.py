"""Stand-ins for diffusers' inpainting pipelines: change the import, keep the script.

::

    from reknit import StableDiffusionInpaintPipeline

    pipe = StableDiffusionInpaintPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
    image = pipe(prompt="a wooden bench", image=photo, mask_image=mask, num_inference_steps=20).images[0]

The arguments are diffusers' own. What comes out is Reknit's: the photo at its own size, bit for bit unchanged outside
the mask. Arguments that have no meaning here are refused, never dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from reknit.core.errors import InputError, NotFound, nearest_name
from reknit.core.image import Photo
from reknit.core.progress import Reporter, Step
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.inputs import as_mask, as_photo

if TYPE_CHECKING:
    from reknit.models.store import Store

_IGNORED_WHEN_LOADING = frozenset(
    {
        "feature_extractor",
        "local_files_only",
        "low_cpu_mem_usage",
        "requires_safety_checker",
        "safety_checker",
        "token",
        "use_safetensors",
        "variant",
        "revision",
        "cache_dir",
    }
)
_MODES = {
    "enable_model_cpu_offload": ("offload", "model"),
    "enable_sequential_cpu_offload": ("offload", "sequential"),
    "enable_vae_tiling": ("vae_tiling", "on"),
    "disable_vae_tiling": ("vae_tiling", "off"),
}


@dataclass(frozen=True, slots=True)
class Output:
    """What a call returns.

    Attributes
    ----------
    images : list of PIL.Image.Image, or ndarray
        (N, H, W, 3) floats from 0 to 1 for ``output_type="np"``.
    nsfw_content_detected : None
        Reknit judges no pictures.
    result : FillResult
        Reknit's own account: plan, notes, proof, recipe.
    """

    images: Any
    result: FillResult
    nsfw_content_detected: None = None

    def __getitem__(self, index: int) -> Any:
        """Return the images for 0, as diffusers' outputs do."""
        return (self.images, self.nsfw_content_detected)[index]


class InpaintPipeline:
    """An inpainting model with the call of diffusers' pipelines; made by `from_pretrained` or `from_single_file`."""

    STEPS: ClassVar[int | None] = None
    GUIDANCE: ClassVar[float | None] = None

    def __init__(self, model: str, params: dict[str, Any]) -> None:
        self.model = model
        self._params = params
        self._loras: dict[str, float] = {}
        self._words: dict[str, Path] = {}
        self._quiet = True

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | PathLike[str], **options: Any
    ) -> InpaintPipeline:
        """Return the pipeline of a folder, a hub repository in the local cache, or a model's id.

        Parameters
        ----------
        pretrained_model_name_or_path
        **options
            ``torch_dtype`` or ``dtype``; those that choose files (``variant``, ``revision``, ``use_safetensors``,
            ``safety_checker``, …) have no effect: nothing is downloaded, and no picture is judged.

        Raises
        ------
        NotFound, Unavailable
            ``model.unknown``, ``model.missing``; the hint names the command that gets it.
        InputError
            ``argument.unknown``
        """
        dtype = options.pop("torch_dtype", None) or options.pop("dtype", None)
        for name in options:
            if name not in _IGNORED_WHEN_LOADING:
                raise _unknown("from_pretrained", name, ["torch_dtype", *_IGNORED_WHEN_LOADING])
        params = {} if dtype in (None, "auto") else {"dtype": str(dtype).removeprefix("torch.")}
        from reknit.engines.diffusion_models import find

        name = fspath(pretrained_model_name_or_path)
        find(name, _models)
        return cls(name, params)

    @classmethod
    def from_single_file(cls, path: str | PathLike[str], **options: Any) -> InpaintPipeline:
        """Return the pipeline of one original-layout file; as `from_pretrained`."""
        return cls.from_pretrained(Path(fspath(path)), **options)

    def to(self, *places: Any) -> InpaintPipeline:
        """Choose a device (``"cuda"``, ``"cpu"``, …) or a dtype; the model is loaded when it is first called."""
        for place in places:
            text = str(place).removeprefix("torch.")
            if text in ("float16", "bfloat16", "float32"):
                self._params["dtype"] = text
            else:
                self._params["device"] = text.partition(":")[0]
        return self

    def load_lora_weights(self, path: str | PathLike[str], **options: Any) -> None:
        """Paint with a LoRA from now on."""
        folder, name = fspath(path), options.pop("weight_name", None)
        options.pop("adapter_name", None)
        if options:
            raise _unknown("load_lora_weights", next(iter(options)), ["weight_name", "adapter_name"])
        self._loras[str(Path(folder) / name) if name else folder] = 1.0

    def unload_lora_weights(self) -> None:
        """Paint without LoRAs."""
        self._loras.clear()

    def load_textual_inversion(
        self, path: str | PathLike[str], token: str | None = None, **options: Any
    ) -> None:
        """Have a word of the prompts stand for a textual inversion from now on.

        Parameters
        ----------
        path
            A file, a folder with ``learned_embeds`` in it, or a hub repository in the local cache.
        token
            The word; by default the one in diffusers' own files, else the file's name.
        **options
            ``weight_name``: the file in the folder.

        Raises
        ------
        NotFound
            ``file.missing``
        InputError
            ``embedding.format``, ``argument.unknown``
        """
        name = options.pop("weight_name", None)
        if options:
            raise _unknown("load_textual_inversion", next(iter(options)), ["token", "weight_name"])
        file = _inversion(
            fspath(path), [name] if name else ["learned_embeds.safetensors", "learned_embeds.bin"]
        )
        from reknit.diffusion.textual_inversion import own_word

        self._words[token or own_word(file)] = file

    def unload_textual_inversion(self, tokens: str | Sequence[str] | None = None) -> None:
        """Take words for textual inversions back, or all of them."""
        for token in [tokens] if isinstance(tokens, str) else [*(tokens or self._words)]:
            self._words.pop(token, None)

    def _with_words(self, prompt: str | None) -> str:
        """Return a prompt that calls textual inversions as Reknit's prompts do."""
        longest_first = sorted(self._words, key=len, reverse=True)
        any_of_them = "|".join(map(re.escape, longest_first)) or "(?!)"
        return re.sub(any_of_them, lambda found: f" embedding:{_plain(found[0])} ", prompt or "")

    def set_progress_bar_config(self, *, disable: bool = False) -> None:
        """Do nothing: Reknit draws no bar here; ``callback_on_step_end`` tells about progress."""
        self._quiet = disable

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return diffusers' switches for memory: those that mean something here, and those that need nothing."""
        if name in _MODES:
            option, value = _MODES[name]
            return lambda *args, **options: self._params.__setitem__(option, value)
        if name.startswith(("enable_", "disable_")) and name.endswith(("_slicing", "_attention", "_freeu")):
            return lambda *args, **options: None
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __call__(
        self,
        prompt: str | None = None,
        image: Any = None,
        mask_image: Any = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
        strength: float = 1.0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | None = None,
        num_images_per_prompt: int = 1,
        eta: float | None = None,
        generator: Any = None,
        output_type: str = "pil",
        return_dict: bool = True,
        clip_skip: int | None = None,
        callback_on_step_end: Callable[..., Any] | None = None,
        **others: Any,
    ) -> Any:
        """Paint what the prompt says where the mask is white.

        Parameters
        ----------
        prompt, negative_prompt
        image, mask_image
            PIL images, arrays, paths; white = paint. A mask of another size is scaled to the image.
        height, width
            Scale image and mask to this first, as diffusers does; by default the image keeps its size.
        padding_mask_crop
            Pixels of surroundings that the model sees; by default what suits it.
        strength, num_inference_steps, guidance_scale, eta, clip_skip
        num_images_per_prompt
        generator
            A torch.Generator, or a list of one for each picture: their initial seeds are taken. None draws a seed.
        output_type
            ``"pil"`` or ``"np"``.
        return_dict
            False returns the tuple ``(images, None)``.
        callback_on_step_end
            Called with (pipeline, step, fraction, {}) as the work goes on; what it raises ends it.

        Returns
        -------
        Output

        Raises
        ------
        InputError
            ``argument.unknown``: an argument of diffusers' that has no meaning here.
        """
        for name, value in others.items():
            if value is not None:
                known = [each for each in InpaintPipeline.__call__.__annotations__ if each != "others"]
                raise _unknown("this pipeline", name, known)
        if image is None or mask_image is None:
            raise InputError("image and mask_image are needed", code="argument.missing", hint="white = paint")
        photo = _photo(image, width, height)
        params = self._params | {
            "model": self.model,
            "prompt": self._with_words(prompt),
            "negative_prompt": self._with_words(negative_prompt),
            "strength": strength,
            "steps": num_inference_steps or self.STEPS,
            "guidance": self.GUIDANCE if guidance_scale is None else guidance_scale,
            "eta": eta,
            "clip_skip": clip_skip or 0,
            "lora": ", ".join(f"{name}:{weight:g}" for name, weight in self._loras.items()),
            "embeddings": ", ".join(f"{_plain(token)}={file}" for token, file in self._words.items()),
        }
        results = [
            self._filled(photo, mask_image, params, seed, count, padding_mask_crop, callback_on_step_end)
            for seed, count in _seeds(generator, num_images_per_prompt)
        ]
        photos = [each for result in results for each in result.photos]
        images: Any = [each.to_pil() for each in photos]
        if output_type == "np":
            images = np.stack([each.to_numpy()[..., :3] / np.iinfo(each.pixels.dtype).max for each in photos])
        return Output(images, results[0]) if return_dict else (images, None)

    def _filled(
        self,
        photo: Photo,
        mask: Any,
        params: dict[str, Any],
        seed: int,
        count: int,
        context: int | None,
        callback: Callable[..., Any] | None,
    ) -> FillResult:
        from reknit.config import usable_threads
        from reknit.pipeline.fill import fill

        numbers = iter(range(1 << 62))

        def tell(step: Step) -> None:
            if callback is not None and step.stage.startswith("step"):
                callback(self, next(numbers), step.fraction, {})

        request = FillRequest(
            photo=photo,
            mask=as_mask(_as_array(mask), photo.size, resize=True),
            engine="diffusion",
            params=params,
            seed=seed,
            count=count,
            context=context,
        )
        return fill(request, threads=usable_threads(), report=Reporter(tell), models=_models)


class StableDiffusionInpaintPipeline(InpaintPipeline):
    """In place of ``diffusers.StableDiffusionInpaintPipeline``, with its defaults."""

    STEPS = 50
    GUIDANCE = 7.5


class StableDiffusionXLInpaintPipeline(InpaintPipeline):
    """In place of ``diffusers.StableDiffusionXLInpaintPipeline``, with its defaults."""

    STEPS = 50
    GUIDANCE = 7.5


class FluxFillPipeline(InpaintPipeline):
    """In place of ``diffusers.FluxFillPipeline``, with its defaults."""

    STEPS = 50
    GUIDANCE = 30.0


class AutoPipelineForInpainting(InpaintPipeline):
    """In place of ``diffusers.AutoPipelineForInpainting``; steps and guidance are what suits the model."""


def _models() -> Store:
    from reknit.config import load, model_store

    return model_store(load())


def _inversion(path: str, names: Sequence[str]) -> Path:
    """Return the file of a textual inversion: itself, or in a folder or a repository."""
    from reknit.diffusion.sources import snapshot

    where = Path(path).expanduser()
    if where.is_file():
        return where.absolute()
    cache = None if where.is_dir() else _models().hub_cache
    folders = ((name, where if where.is_dir() else snapshot(path, cache, name)) for name in names)
    found = (folder / name for name, folder in folders if folder is not None and (folder / name).is_file())
    file = next(found, None)
    if file is None:
        raise NotFound(
            f"there is no textual inversion {path}",
            code="file.missing",
            hint="give its file, or weight_name=FILE beside its folder; nothing is downloaded",
            path=path,
        )
    return file.absolute()


def _plain(token: str) -> str:
    """Return a word without what prompts and lists of options give a meaning."""
    return re.sub(r"[^\w-]+", "", token) or token.encode().hex()


def _seeds(generator: Any, count: int) -> list[tuple[int, int]]:
    """Return seeds, and how many pictures to make from each."""
    if generator is None:
        return [(-1, count)]
    if isinstance(generator, Sequence):
        given = cast("Sequence[Any]", generator)
        if len(given) != count:
            raise InputError(
                f"{len(given)} generators for {count} pictures",
                code="argument.value",
                hint="give one generator a picture, or a single one",
            )
        return [(int(each.initial_seed()) % 2**32, 1) for each in given]
    return [(int(generator.initial_seed()) % 2**32, count)]


def _as_array(picture: Any) -> Any:
    """Return pixels of a torch tensor (3 or 1, H, W) from 0 to 1, or what was given."""
    if not hasattr(picture, "detach"):
        return picture
    array = picture.detach().float().cpu().numpy()
    array = array[0] if array.ndim == 4 else array
    array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    values = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values


def _photo(image: Any, width: int | None, height: int | None) -> Photo:
    photo = as_photo(_as_array(image))
    if width is None and height is None:
        return photo
    from reknit.core.fit import resampled
    from reknit.core.geometry import Size

    size = Size(width=width or photo.size.width, height=height or photo.size.height)
    pixels: Any = photo.to_numpy()
    return Photo.from_array(resampled(pixels, size))


def _unknown(where: str, name: str, known: Sequence[str]) -> InputError:
    return InputError(
        f"{where} takes no argument {name!r} here", code="argument.unknown", hint=nearest_name(name, known)
    )
