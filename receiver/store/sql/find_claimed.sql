-- The requests that claims name: by the id of an attempt or, without that, by the request's own, of this provider alone;
-- and whether their clients want to be told.
WITH claimed AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(claims)s::jsonb) AS c(provider text, request uuid, attempt uuid)
),
owned AS MATERIALIZED (
    SELECT claimed.*, coalesce(attempts.request_id, claimed.request) AS owner
    FROM claimed LEFT JOIN (
        SELECT id, request_id FROM attempts WHERE id = ANY(ARRAY(SELECT attempt FROM claimed))
    ) AS attempts ON attempts.id = claimed.attempt
)
SELECT owned.provider, owned.request, owned.attempt, requests.id, notify_url IS NOT NULL
FROM owned JOIN requests ON requests.id = owned.owner AND requests.provider = owned.provider
WHERE requests.id = ANY(ARRAY(SELECT owner FROM owned))
