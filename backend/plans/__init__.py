"""Plans: data, not code."""
