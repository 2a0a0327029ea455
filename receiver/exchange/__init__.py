"""HTTP exchanges with providers and clients' hosts: admission within the limits, and the HTTP clients."""
