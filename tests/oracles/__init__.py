"""Slow, plain NumPy versions of what the C++ core does fast: the truth that it is tested against."""
