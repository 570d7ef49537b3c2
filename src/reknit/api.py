"""The Python door: `fill`, `extend` and `repair` with paths, bytes, arrays or PIL images, and `check`.

The first three turn their arguments into a request, run the pipeline, and return a `FillResult`. Nothing is printed
and nothing is written until ``result.save``. `check` says beforehand whether a model will run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reknit.config import THREADS, model_store, planner_file, usable_threads
from reknit.config import load as load_settings
from reknit.core.image import Photo
from reknit.core.progress import CancelToken, Reporter, Step
from reknit.core.request import FillRequest
from reknit.core.result import FillResult
from reknit.inputs import MaskFrom, MaskLike, PhotoLike, as_mask, as_photo
from reknit.pipeline.fill import fill as run_fill

if TYPE_CHECKING:
    from reknit.models.store import Store
    from reknit.planner.verdict import Verdict

Progress = Callable[[Step], None]


def _models() -> Store:
    """Return the models on this machine, where the user's settings say they are."""
    return model_store(load_settings())


def _threads(given: int | None) -> int:
    return usable_threads() if given is None else THREADS.check(given)


def _with(params: Mapping[str, Any] | None, **short: Any) -> dict[str, Any]:
    """Return options with those that were given as arguments of their own."""
    return {**(params or {}), **{name: value for name, value in short.items() if value is not None}}


def fill(
    photo: PhotoLike,
    mask: MaskLike,
    *,
    engine: str = "auto",
    params: Mapping[str, Any] | None = None,
    model: str | None = None,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    strength: float | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    scheduler: str | None = None,
    control: str | None = None,
    control_image: str | None = None,
    image_prompt: str | None = None,
    vae: str | None = None,
    text_encoders: str | None = None,
    source: MaskLike | None = None,
    seed: int = 0,
    count: int = 1,
    grow: float = 2.0,
    feather: float | None = None,
    context: int | None = None,
    mask_from: MaskFrom = "luma",
    invert: bool = False,
    resize_mask: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> FillResult:
    """Fill the masked part of a photo.

    Parameters
    ----------
    photo
        Path, bytes, (H, W[, 3|4]) uint8/uint16 array in RGB order, PIL image or `Photo`. Never mutated.
    mask
        Same kinds, same size. White (> 127), True or 1.0 = fill.
    engine
        A name from `reknit.engines`, or ``"auto"``.
    params
        The engine's own options, e.g. ``{"quality": "best"}``.
    model, prompt, negative_prompt, strength, steps, guidance, sampler, scheduler
    control, control_image, image_prompt, vae, text_encoders
        Short for the options of these names in ``params``. A model, or a prompt, chooses its engine.
    source
        Where an exemplar engine may copy from: white = may.
    seed
        Same seed, same bytes; −1 draws one.
    count
        Number of variations.
    grow
        Pixels by which the hole is dilated, so that no rim of the removed object stays.
    feather
        Width in pixels of the blend ring outside the grown hole; None for what suits the engine.
    context
        Pixels of surroundings seen by the engine on each side; None for what suits it.
    mask_from, invert, resize_mask
        How to read the mask: from brightness or transparency, swapped, scaled to the photo.
    threads
        CPU threads; None for all. The result does not depend on it.
    progress
        Called with each `Step`, from this thread.
    cancel
        Stops the work from another thread; `Cancelled` is raised.

    Returns
    -------
    FillResult
        ``.photo``, ``.save(path)``, ``.to_numpy()``, ``.to_pil()``, and ``.report``: the proof that every
        pixel outside the hole and its ring is unchanged.

    Raises
    ------
    ReknitError
        `InputError` for what was given, `Unavailable`, `EngineFailed`, `Cancelled`.
    """
    image = as_photo(photo)
    request = FillRequest(
        photo=image,
        mask=as_mask(mask, image.size, mask_from=mask_from, invert=invert, resize=resize_mask),
        source=None if source is None else as_mask(source, image.size),
        engine=engine,
        params=_with(
            params,
            model=model,
            prompt=prompt,
            negative_prompt=negative_prompt,
            strength=strength,
            steps=steps,
            guidance=guidance,
            sampler=sampler,
            scheduler=scheduler,
            control=control,
            control_image=control_image,
            image_prompt=image_prompt,
            vae=vae,
            text_encoders=text_encoders,
        ),
        seed=seed,
        count=count,
        grow=grow,
        feather=feather,
        context=context,
    )
    return run_fill(request, threads=_threads(threads), report=Reporter(progress, cancel), models=_models)


def extend(
    photo: PhotoLike,
    *,
    left: int | str = 0,
    right: int | str = 0,
    top: int | str = 0,
    bottom: int | str = 0,
    aspect: str | None = None,
    anchor: str = "center",
    engine: str | None = None,
    params: Mapping[str, Any] | None = None,
    model: str | None = None,
    prompt: str | None = None,
    seed: int = 0,
    count: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> FillResult:
    """Extend a photo beyond its borders; the original stays bit-exact inside.

    Parameters
    ----------
    photo
        As for `fill`.
    left, right, top, bottom
        How much to add: pixels (``64``, ``"64px"``) or a share of the photo's side (``"25%"``).
    aspect
        Extend to this shape, e.g. ``"16:9"``.
    anchor
        Where the original sits when ``aspect`` decides the amounts, e.g. ``"left"`` or ``"top-right"``.
    engine
        None for what runs ``model`` or ``prompt``, else the exemplar engine.
    params, model, prompt, seed, count, threads, progress, cancel
        As for `fill`.
    """
    from reknit.pipeline.extend import ExtendRequest, engine_for_extending
    from reknit.pipeline.extend import extend as run_extend

    given = _with(params, model=model, prompt=prompt)
    request = ExtendRequest(
        photo=as_photo(photo),
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        aspect=aspect,
        anchor=anchor,
        engine=engine or engine_for_extending(given),
        params=given,
        seed=seed,
        count=count,
    )
    return run_extend(request, threads=_threads(threads), report=Reporter(progress, cancel), models=_models)


def repair(
    photo: PhotoLike,
    *,
    kinds: Sequence[str] = ("dust", "scratch", "fold", "tear"),
    sensitivity: float = 0.5,
    engine: str = "auto",
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
) -> FillResult:
    """Find dust, scratches, folds and tears in a scanned photo, and fill them.

    Parameters
    ----------
    photo
        As for `fill`.
    kinds
        Which damage to look for.
    sensitivity
        0 marks only what is beyond doubt, 1 marks everything that might be damage.
    engine, params, seed, threads, progress, cancel
        As for `fill`.

    Returns
    -------
    FillResult
        ``.mask`` is what was found. When nothing was found the photo comes back unchanged and says so.
    """
    from reknit.pipeline.repair import RepairRequest
    from reknit.pipeline.repair import repair as run_repair

    request = RepairRequest(
        photo=as_photo(photo),
        kinds=tuple(kinds),
        sensitivity=sensitivity,
        engine=engine,
        params=params or {},
        seed=seed,
    )
    return run_repair(request, threads=_threads(threads), report=Reporter(progress, cancel), models=_models)


__all__ = ["CancelToken", "Photo", "Step", "extend", "fill", "repair"]


def check(
    model: str,
    *,
    gpu: str | None = None,
    size: int | tuple[int, int] | None = None,
    vram: float | None = None,
    ram: float | None = None,
    steps: int | None = None,
    count: int = 1,
) -> Verdict:
    """Say whether a model will run, before anything is downloaded.

    Parameters
    ----------
    model
        A name of the catalog.
    gpu
        A card, such as ``"RTX 3060 12GB"``, or ``"cpu"``; by default this machine as it is now.
    size
        Side, or width and height, in pixels that the model works on; by default what it was trained for.
    vram, ram
        GiB of the card and of main memory, in place of what is known.
    steps
        Steps of denoising; by default what people use.
    count
        Variations; as many as fit are painted at once.

    Returns
    -------
    Verdict
        ``answer`` is ``yes``, ``yes-with`` or ``no``; ``plan`` what Reknit would do; ``to_dict()`` all of it.

    Raises
    ------
    NotFound
        ``model.unknown``, ``model.no-facts``, ``device.unknown``.
    """
    from reknit.planner import ask

    settings = load_settings()
    store, threads = model_store(settings), settings["threads"].value or _threads(None)
    wanted = ask.subject(model, store.every_card)
    fitted = planner_file(settings)
    here = ask.place(gpu, vram=vram, ram=ram, threads=threads, folder=store.models_dir, fitted=fitted)
    px = (size, size) if isinstance(size, int) else size
    card = store.every_card.get(wanted.id)
    return ask.ask(
        wanted,
        here,
        px=px,
        steps=steps,
        count=count,
        installed=card is not None and store.look(card) is not None,
        cards=store.every_card,
    )
