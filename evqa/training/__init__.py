"""Training: the Lightning module and data module, batches, losses, optimizer, adapters, callbacks, a run's folder."""
