"""Idempotency keys of the management API."""
