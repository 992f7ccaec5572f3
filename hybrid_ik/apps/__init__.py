"""What a person runs: the command line and pictures. The only place that prints."""
