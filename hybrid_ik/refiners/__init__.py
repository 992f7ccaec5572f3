"""Refiners polish starting joints until the tip is on its target."""
