"""The gateways that follow this backend's feed."""
