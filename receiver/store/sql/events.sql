-- name: find_newest_events
-- Return the newest events of each job, at most `limit` per job and only those before the cursor `before` if it is given,
-- and of the events before these the one that decides the job's status: the effects of the returned events depend on no
-- other event. The order that decides is that of the statement `reconcile`.
WITH newest_events AS MATERIALIZED (
    SELECT event.*,
        row_number() OVER (
            PARTITION BY event.job_id ORDER BY event.received_at DESC, event.position DESC, event.key DESC) AS number
    FROM unnest(%(ids)s::uuid[]) AS input(job_id) CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE events.job_id = input.job_id
            AND (%(before)s::timestamptz IS NULL OR (received_at, position, key)
                < (%(before)s, %(before_position)s::integer, %(before_key)s::uuid))
        ORDER BY received_at DESC, position DESC, key DESC LIMIT %(limit)s
    ) AS event
),
preceding_events AS (
    SELECT event.*, NULL::bigint AS number
    FROM newest_events AS oldest CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE events.job_id = oldest.job_id
            AND (received_at, position, key) < (oldest.received_at, oldest.position, oldest.key)
        ORDER BY precedence DESC, CASE WHEN precedence = 60 THEN received_at END DESC, received_at, position, key LIMIT 1
    ) AS event
    WHERE oldest.number = %(limit)s
)
SELECT event.job_id, key, provider, reference, source, event.status, event.precedence, received_at, position,
    deadline_at, provider_status, code, detail, occurred_at, callback_id, event.request_id, actor,
    number IS NULL AS is_preceding
FROM (SELECT * FROM newest_events UNION ALL SELECT * FROM preceding_events) AS event JOIN jobs ON jobs.id = event.job_id
ORDER BY received_at, position, key

-- name: list_callback_events
-- Return a page of the events of a callback's deliveries, in the order of their position in the body. Each delivery is
-- read separately, along the index and no further than one page. Do not prepare the statement, so that the plan
-- contains the cursor only if there is one.
SELECT event.job_id, key, provider, reference, source, event.status, event.precedence, received_at, position,
    deadline_at, provider_status, code, detail, occurred_at, callback_id, event.request_id, actor
FROM (
    SELECT item.* FROM unnest(%(callback_ids)s::uuid[]) AS delivery(id) CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE callback_id = delivery.id
            AND (%(after_position)s::integer IS NULL OR (position, job_id, key)
                > (%(after_position)s, %(after_job_id)s::uuid, %(after_key)s::uuid))
        ORDER BY position, job_id, key LIMIT %(limit)s
    ) AS item
    ORDER BY position, job_id, key LIMIT %(limit)s
) AS event JOIN jobs ON jobs.id = event.job_id
ORDER BY position, event.job_id, key

-- name: find_callback_jobs
-- Return the jobs of the events of a callback's deliveries, in the order of the first event of each job.
SELECT job_id FROM events WHERE callback_id = ANY(%(callback_ids)s)
GROUP BY job_id ORDER BY min(position), job_id LIMIT %(limit)s
