"""Why a pose is not reached, or is reached badly: reach, orientation, joint limits, singularities."""
