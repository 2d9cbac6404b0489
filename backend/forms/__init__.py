"""Forms: what visitors post to."""
