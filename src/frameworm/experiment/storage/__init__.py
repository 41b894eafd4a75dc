"""Storage: sealed segments, the catalog, artifacts."""
