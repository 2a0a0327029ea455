-- The requests that claims name: by the id of an attempt or, without that, by the request's own, of this provider alone;
-- and whether their clients want to be told.
WITH hints AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(hints)s::jsonb) AS c(provider text, request_id uuid, attempt_id uuid)
),
owned AS MATERIALIZED (
    SELECT hints.*, coalesce(attempts.request_id, hints.request_id) AS owner
    FROM hints LEFT JOIN (
        SELECT id, request_id FROM attempts WHERE id = ANY(ARRAY(SELECT attempt_id FROM hints))
    ) AS attempts ON attempts.id = hints.attempt_id
)
SELECT owned.provider, owned.request_id, owned.attempt_id, requests.id, notify_url IS NOT NULL
FROM owned JOIN requests ON requests.id = owned.owner AND requests.provider = owned.provider
WHERE requests.id = ANY(ARRAY(SELECT owner FROM owned))
