"""Members of accounts: who may do what, and how somebody becomes one."""
