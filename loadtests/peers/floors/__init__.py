"""What answers a post and does nothing with it: how fast a stack could be at all."""
