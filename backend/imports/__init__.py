"""Submissions that another form service has taken, brought in with their dates."""
