"""Models that run on this machine: finding them, fetching them, running them."""
