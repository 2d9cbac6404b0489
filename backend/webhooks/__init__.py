"""Webhooks: the resource, what is sent to them, and how it is signed."""
