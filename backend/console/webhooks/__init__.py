"""The pages on webhooks and on what is delivered."""
