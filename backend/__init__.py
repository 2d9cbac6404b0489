"""The management service: owns persistence and configuration. Never imports the gateway."""
