"""Probes: what an owner needs to send a marked post through the whole chain."""
