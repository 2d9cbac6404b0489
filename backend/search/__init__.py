"""Search in submissions: by words, on SQLite and PostgreSQL alike."""
