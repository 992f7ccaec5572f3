"""Joints along a path of poses: the whole solution sets of all poses, joined by dynamic programming."""
