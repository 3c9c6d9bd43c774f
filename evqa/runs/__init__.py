"""From a checked configuration to a finished run folder, and from a run folder back to a scorer."""
