"""Files of any kind: whether one may be read, writing one whole or not at all, and its name as it may be shown."""
