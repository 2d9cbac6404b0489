"""The pages on submissions: the lists, one of them, and the export of a form."""
