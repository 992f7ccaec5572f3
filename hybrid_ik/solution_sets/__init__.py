"""Every answer of a pose: curves followed whole and cut at the joint limits, separate points, or a cover of a body."""
