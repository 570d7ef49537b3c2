"""Weights: what is known of them, where they lie, how they get here. It knows no engine and runs no model."""
