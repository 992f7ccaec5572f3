"""From what cameras see of an arm to its joints: recordings, dots in videos, cameras, and the refiner on pixels."""
