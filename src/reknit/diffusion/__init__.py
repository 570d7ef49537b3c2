"""The stages of latent diffusion, each usable by itself: open a checkpoint, encode, denoise, decode."""
