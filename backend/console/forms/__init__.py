"""The pages on forms."""
