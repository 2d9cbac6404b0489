"""Signing in by a link that is mailed, and the sessions of those who have."""
