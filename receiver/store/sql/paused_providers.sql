-- The providers that are paused, with since when and why.
SELECT name, paused_at, pause_reason FROM providers WHERE paused_at IS NOT NULL ORDER BY name
