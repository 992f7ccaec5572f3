"""Joints from pixels: cameras, their calibration from a recording, and the refiner on reprojection errors."""
