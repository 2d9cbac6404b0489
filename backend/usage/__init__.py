"""What accounts use: counted by commits, reported by gateways, shown by the API."""
