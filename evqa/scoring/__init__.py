"""Scoring: from a place (run, merged folder, checkpoint) to scores."""
