"""Reknit: give it a photo and a mask, get the photo back completed."""

__version__ = "0.1.0"
