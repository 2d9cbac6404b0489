"""The peer ``fastapi``: runs with packages of its own, so it imports nothing of the project."""
