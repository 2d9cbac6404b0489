"""Faults on purpose: what the guarantees of ``docs/guarantees.md`` are worth when things break.

Short tests run with all the others; ``python -m tests.faults torture`` runs the long set.
"""
