"""The ``formflow`` command. Starts gateway and backend as processes; nobody imports it."""
