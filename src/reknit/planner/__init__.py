"""Will it run? Facts of devices and models, laws of memory and time, and a verdict made of them.

Pure arithmetic on data files: nothing here loads weights, opens a connection or imports torch. `verdict.check` is the
door; `memory` and `speed` are the laws, `published` holds them against what others measured.
"""
