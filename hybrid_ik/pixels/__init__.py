"""From what cameras see of an arm to its joints: recordings, cameras, and the refiner on pixels."""
