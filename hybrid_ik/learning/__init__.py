"""Training of networks: data, networks, the MeanFlow loss, the loop. The only home of torch in the package."""
