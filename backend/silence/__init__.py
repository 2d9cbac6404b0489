"""The silence alarm: a form that used to receive and has stopped tells its owners."""
