"""What gateway and backend say to each other.

Imports nothing of this project; outside ``contracts.runtime`` only the standard library and orjson.
"""

VERSION = "0.1.0"
