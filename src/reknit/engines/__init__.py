"""Engines: pixels and a hole come in, pixels go out. One file each; `registry` finds them."""
