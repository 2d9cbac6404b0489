"""Accounts, their users, and the first start."""
