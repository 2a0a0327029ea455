-- Send to a provider again.
UPDATE providers SET paused_at = NULL, pause_reason = NULL WHERE name = %(name)s
