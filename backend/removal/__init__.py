"""What leaves for good: deleted forms, and submissions older than their form keeps them."""
