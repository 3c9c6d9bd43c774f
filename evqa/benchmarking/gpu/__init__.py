"""`benchmark gpu`: all that a GPU has to show, in parts that can be run by themselves, on batches made in memory."""
