"""The gateway's surface: batch commits, look-ups, key verification, the change feed."""
