"""Environments: the parts of an account that forms and keys belong to."""
