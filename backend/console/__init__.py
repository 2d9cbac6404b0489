"""The console: the management API for people, rendered here.

Each page does what it does through operations of the API, in this process (``console.api``): what
the API refuses, no page can do.
"""
