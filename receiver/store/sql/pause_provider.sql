-- Pause a provider until an operator resumes it. An existing pause keeps its time and reason.
INSERT INTO providers (name, paused_at, pause_reason) VALUES (%(name)s, now(), %(reason)s)
ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, pause_reason = excluded.pause_reason
WHERE providers.paused_at IS NULL
