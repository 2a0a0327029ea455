"""Who calls the API: API keys, and the rate limit of each key."""
