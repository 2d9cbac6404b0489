"""Delivery: the outbox, and what carries it out. Webhooks and mail are its senders."""
