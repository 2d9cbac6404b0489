"""From the bytes of a body to its fields and files."""
