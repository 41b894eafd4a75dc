"""Query: reading points and metadata back, filters, comparison."""
