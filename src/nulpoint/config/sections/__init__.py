"""The structured sections of the configuration: providers, identities, fallback chains, prices and log targets."""
