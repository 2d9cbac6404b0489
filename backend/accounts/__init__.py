"""Accounts, the roles of their members, and the first start."""
