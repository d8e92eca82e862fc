"""A grid of pretrainings and their evaluations, one JSON file per run."""
