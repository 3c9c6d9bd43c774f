"""Compose, check and identify configurations without importing anything heavy."""
