"""Samplers propose the joints that refining starts from."""
