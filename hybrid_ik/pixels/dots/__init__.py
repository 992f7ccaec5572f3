"""Coloured dots in videos: found, learned, followed, drawn."""
