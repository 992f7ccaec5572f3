"""Cameras and arms: projection, calibration, triangulation, and joints refined on pixels."""
