"""API keys: minted, shown once, verified, revoked."""
