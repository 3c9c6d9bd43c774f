"""Predict how engaging a short video is, and how good it looks, with large multimodal models."""

__version__ = "0.1.0"
