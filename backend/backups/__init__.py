"""Backups: the database, the uploaded files and the secrets of an installation in one archive."""
