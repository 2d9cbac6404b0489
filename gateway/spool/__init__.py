"""Where accepted submissions wait, fsynced, while the backend is away."""
