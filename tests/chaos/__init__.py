"""Long trials of what must hold while workers die, limits are reached and providers are silent."""
