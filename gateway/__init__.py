"""The hot path: takes form posts and forwards what it accepts. Never imports the backend."""
