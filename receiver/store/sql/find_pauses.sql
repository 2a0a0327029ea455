-- The providers that are paused, with since when, why and by what: by an operator, or because the credentials of all who
-- send were refused.
SELECT DISTINCT ON (name) name, paused_at, pause_reason, pause_cause
FROM (
    SELECT name, paused_at, pause_reason, 'operator' AS pause_cause FROM providers WHERE paused_at IS NOT NULL
    UNION ALL
    SELECT provider, refused_at, reason, 'credentials' FROM refused_credentials WHERE lifted_at IS NULL
) AS standing
ORDER BY name, pause_cause DESC, paused_at
