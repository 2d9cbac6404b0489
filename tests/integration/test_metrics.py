"""What gateway and backend tell Prometheus, on a running product."""
