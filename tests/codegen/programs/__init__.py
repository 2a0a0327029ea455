"""Programs that use generated clients; a test copies each beside its client."""
