"""Datasets in LeRobot's format: read as a stream, and written."""
