"""Engines that fill holes: pixels and a hole come in, pixels go out.

``reknit.engines.every()`` gives all that are installed by name, ``reknit.engines.get(name)`` one; an engine's
``spec`` says what it is for and which options it takes. Nothing here knows photos, regions or compositing.
"""

from reknit.engines.base import Crop, Engine, EngineSpec, Session
from reknit.engines.registry import every, get

__all__ = ["Crop", "Engine", "EngineSpec", "Session", "every", "get"]
