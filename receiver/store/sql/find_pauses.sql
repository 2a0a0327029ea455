-- Return the paused providers with the time, reason and cause of the pause: an operator, or a refusal of the
-- credentials of all workers that send to the provider.
SELECT DISTINCT ON (name) name, paused_at, pause_reason, pause_cause
FROM (
    SELECT name, paused_at, pause_reason, 'operator' AS pause_cause FROM providers WHERE paused_at IS NOT NULL
    UNION ALL
    SELECT provider, refused_at, reason, 'credentials' FROM refused_credentials WHERE lifted_at IS NULL
) AS pause
ORDER BY name, pause_cause DESC, paused_at
