"""What A1111's clients ask for before they work: names of samplers and schedulers, and lists that are empty here.

Data in the original's words and order, nothing else.
"""

from __future__ import annotations

from typing import Any

_KARRAS, _EXPONENTIAL = {"scheduler": "karras"}, {"scheduler": "exponential"}
SAMPLERS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    ("DPM++ 2M", ("k_dpmpp_2m",), _KARRAS),
    ("DPM++ SDE", ("k_dpmpp_sde",), {**_KARRAS, "second_order": True, "brownian_noise": True}),
    ("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), {**_EXPONENTIAL, "brownian_noise": True}),
    (
        "DPM++ 2M SDE Heun",
        ("k_dpmpp_2m_sde_heun",),
        {**_EXPONENTIAL, "brownian_noise": True, "solver_type": "heun"},
    ),
    ("DPM++ 2S a", ("k_dpmpp_2s_a",), {**_KARRAS, "uses_ensd": True, "second_order": True}),
    (
        "DPM++ 3M SDE",
        ("k_dpmpp_3m_sde",),
        {**_EXPONENTIAL, "discard_next_to_last_sigma": True, "brownian_noise": True},
    ),
    ("Euler a", ("k_euler_a", "k_euler_ancestral"), {"uses_ensd": True}),
    ("Euler", ("k_euler",), {}),
    ("LMS", ("k_lms",), {}),
    ("Heun", ("k_heun",), {"second_order": True}),
    ("DPM2", ("k_dpm_2",), {**_KARRAS, "discard_next_to_last_sigma": True, "second_order": True}),
    (
        "DPM2 a",
        ("k_dpm_2_a",),
        {**_KARRAS, "discard_next_to_last_sigma": True, "uses_ensd": True, "second_order": True},
    ),
    ("DPM fast", ("k_dpm_fast",), {"uses_ensd": True}),
    ("DPM adaptive", ("k_dpm_ad",), {"uses_ensd": True}),
    ("Restart", ("restart",), {**_KARRAS, "second_order": True}),
    ("DDIM", ("ddim",), {}),
    ("DDIM CFG++", ("ddim_cfgpp",), {}),
    ("PLMS", ("plms",), {}),
    ("UniPC", ("unipc",), {}),
    ("LCM", ("k_lcm",), {}),
)
"""Name, aliases and options."""

SCHEDULERS: tuple[dict[str, Any], ...] = tuple(
    {"name": name, "label": label, "aliases": aliases, "default_rho": rho, "need_inner_model": inner}
    for name, label, aliases, rho, inner in (
        ("automatic", "Automatic", None, -1, False),
        ("uniform", "Uniform", None, -1, True),
        ("karras", "Karras", None, 7.0, False),
        ("exponential", "Exponential", None, -1, False),
        ("polyexponential", "Polyexponential", None, 1.0, False),
        ("sgm_uniform", "SGM Uniform", ["SGMUniform"], -1, True),
        ("kl_optimal", "KL Optimal", None, -1, False),
        ("align_your_steps", "Align Your Steps", None, -1, False),
        ("simple", "Simple", None, -1, True),
        ("normal", "Normal", None, -1, True),
        ("ddim", "DDIM", None, -1, True),
        ("beta", "Beta", None, -1, True),
    )
)

UPSCALERS: tuple[dict[str, Any], ...] = tuple(
    {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4}
    for name in ("None", "Lanczos")
)
LATENT_MODES: tuple[dict[str, str], ...] = tuple(
    {"name": f"Latent{suffix}"}
    for suffix in (
        "",
        " (antialiased)",
        " (bicubic)",
        " (bicubic antialiased)",
        " (nearest)",
        " (nearest-exact)",
    )
)
SCRIPTS = ("soft inpainting", "controlnet")
"""In lower case, as the original lists them. Other extensions are not pretended: clients then send their arguments."""

IGNORED_SCRIPTS = frozenset({"refiner", "seed", "sampler", "comments", "extra options", "hypertile"})
"""Built into the original, without effect here."""

EMPTY: dict[str, Any] = {
    "sd-vae": [],
    "sd-modules": [],
    "hypernetworks": [],
    "face-restorers": [],
    "realesrgan-models": [],
    "prompt-styles": [],
    "script-info": [],
    "extensions": [],
    "artists": [],
    "artist-categories": [],
    "cmd-flags": {},
}
"""What is asked for and is not here."""

OPTIONS: dict[str, Any] = {
    "samples_format": "png",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "img2img_color_correction": False,
    "img2img_background_color": "#ffffff",
    "initial_noise_multiplier": 1.0,
    "inpainting_mask_weight": 1.0,
    "overlay_inpaint": True,
    "return_mask": False,
    "return_mask_composite": False,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 10,
    "eta_noise_seed_delta": 0,
    "upcast_attn": False,
}
"""Settings as they are at first; `sd_model_checkpoint` and `sd_checkpoint_hash` are added when asked for."""


def sampler_of(name: str, scheduler: str | None) -> tuple[str, str | None]:
    """Return sampler and schedule in the original's words: aliases and "DPM++ 2M Karras" are taken apart.

    A name nobody knows becomes the first sampler, and a schedule nobody knows None, as in the original.
    """
    schedule = _schedule(scheduler or "")
    by_name = {word.lower(): found for found, aliases, _ in SAMPLERS for word in (found, *aliases)}
    wanted = name.strip().lower()
    if wanted not in by_name:
        for each in SCHEDULERS:
            for word in (each["label"], each["name"], *(each["aliases"] or ())):
                head = wanted.removesuffix(" " + word.lower())
                if head != wanted and head in by_name:
                    return by_name[head], each["label"]
    return by_name.get(wanted, SAMPLERS[0][0]), schedule


def automatic(sampler: str) -> str | None:
    """Return the schedule that a sampler has when none is chosen, by its label; None for the model's own."""
    options = next(options for name, _, options in SAMPLERS if name == sampler)
    return _schedule(options.get("scheduler", ""))


def _schedule(name: str) -> str | None:
    for each in SCHEDULERS[1:]:
        if name.strip().lower() in {
            each["label"].lower(),
            each["name"],
            *(a.lower() for a in each["aliases"] or ()),
        }:
            return each["label"]
    return None
