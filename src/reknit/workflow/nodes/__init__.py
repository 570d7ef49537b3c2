"""The nodes, by what they work on; `reknit.workflow.node.BUILT_IN` lists these modules.

Pictures are float32 (B, H, W, C) from 0 to 1, masks (B, H, W) with 1 where something is to be painted, latents
``{"samples": (B, C, h, w), "noise_mask": (B, 1, H, W)}``, all NumPy arrays that no node changes in place.
"""
