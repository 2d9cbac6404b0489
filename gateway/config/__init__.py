"""The forms and keys that this gateway knows: asked for, fed, aged, and kept over a restart."""
