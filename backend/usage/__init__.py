"""What an account has used this month."""
