-- Return the requests that hints name, by the id of an attempt or else by the request's own id, if they belong to the
-- hint's provider, and whether their clients are to be notified.
WITH input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(hints)s::jsonb) AS hint(provider text, request_id uuid, attempt_id uuid)
),
resolved_hints AS MATERIALIZED (
    SELECT input.*, coalesce(attempt.request_id, input.request_id) AS resolved_id
    FROM input LEFT JOIN (
        SELECT id, request_id FROM attempts WHERE id = ANY(ARRAY(SELECT attempt_id FROM input))
    ) AS attempt ON attempt.id = input.attempt_id
)
SELECT hint.provider, hint.request_id, hint.attempt_id, requests.id, notify_url IS NOT NULL
FROM resolved_hints AS hint JOIN requests ON requests.id = hint.resolved_id AND requests.provider = hint.provider
WHERE requests.id = ANY(ARRAY(SELECT resolved_id FROM resolved_hints))
