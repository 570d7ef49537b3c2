"""The values and pure functions that every other room is built on.

``core`` knows NumPy, the standard library and the native module; ``core.codec`` alone knows libvips.
It knows no engine, no model, no HTTP, no environment variable and no terminal.
"""
