-- End the pause of a provider.
UPDATE providers SET paused_at = NULL, pause_reason = NULL WHERE name = %(name)s
