"""Mail: what it says, how it is written down, and the ways it goes."""
