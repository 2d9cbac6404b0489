"""Submissions: accepted posts, read, deleted and exported."""
