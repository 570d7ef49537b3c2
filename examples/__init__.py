"""Pictures drawn by formula, with their truth: for trying Reknit out, for tests and for benchmarks.

Installed as ``reknit.examples``; in a checkout, ``python -m examples.scenes photo.jpg mask.png`` draws a photo
and a mask. It knows nothing of the rest of Reknit.
"""
