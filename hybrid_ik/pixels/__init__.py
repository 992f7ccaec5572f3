"""Coloured dots in the videos of fixed cameras: found, followed, drawn, and set against the motion of the joints."""
