"""Recordings of arms with cameras, in the format of LeRobot (v3): read and written frame by frame."""
