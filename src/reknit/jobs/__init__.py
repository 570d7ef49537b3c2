"""Durable jobs: opaque payloads, stored in SQLite, run by child processes that may die at any moment.

Nothing here knows HTTP or pictures; the work itself is done by handlers that are given to the worker.
"""
