"""Keeping a store healthy: checking and mending it, merging segments, pruning, the trash, edits after the end."""
