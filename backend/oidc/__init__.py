"""Signing in at an OpenID Connect provider, and ending sessions with those of the provider."""
