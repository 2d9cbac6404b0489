"""Calls to hosts that a customer named: the only place that makes them."""
