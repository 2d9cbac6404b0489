"""Measures a real product over HTTP. Imports the contracts only."""
