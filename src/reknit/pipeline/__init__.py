"""The use cases: fill, extend and repair a photo with any engine, and prove the result."""
