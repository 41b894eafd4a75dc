"""Provenance: where an experiment came from: code, environment, command."""
