-- name: lock_activity_progress
-- Lock the progress unless another worker has locked it, and return the next period to count, if that is longer than
-- `step` seconds or ends with its minute. It ends `delay` seconds ago at the latest: what is stored later than that is
-- not counted. Nor is what happened more than a day before, while no worker ran.
WITH input AS (
    SELECT now() - make_interval(secs => %(delay)s) AS until, make_interval(secs => %(step)s) AS step
),
progress AS MATERIALIZED (
    SELECT greatest(counted_until, now() - interval '1 day') AS since
    FROM activity_progress CROSS JOIN input WHERE counted_until + step < until
    FOR UPDATE OF activity_progress SKIP LOCKED
)
SELECT since, least(date_trunc('minute', since, 'UTC') + interval '1 minute', until) AS until
FROM progress CROSS JOIN input

-- name: count_activity
-- Count the rows of a period, add the counts to those of its minute, and return them, of jobs with the sum of the seconds
-- from acceptance to the final status. Each provider and status is counted separately along the index of its list, see
-- list_jobs.
WITH counted AS (
    SELECT source.provider, 'requests' AS kind, 'submitted' AS outcome, 0 AS bucket, item.count,
        0::double precision AS seconds
    FROM operations_with_requests AS source CROSS JOIN unnest(%(request_statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT count(*) AS count FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND created_at >= %(since)s AND created_at < %(until)s) AS item
    UNION ALL
    SELECT source.provider, 'callbacks', candidate.verdict, 0, item.count, 0
    FROM providers_with_callbacks AS source CROSS JOIN unnest(%(verdicts)s::text[]) AS candidate(verdict)
    CROSS JOIN LATERAL (
        SELECT count(*) AS count FROM callbacks
        WHERE provider = source.provider AND verdict = candidate.verdict
            AND received_at >= %(since)s AND received_at < %(until)s) AS item
    UNION ALL
    SELECT source.provider, 'jobs', candidate.status, item.bucket, item.count, item.seconds
    FROM providers_with_jobs AS source CROSS JOIN unnest(%(job_statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT width_bucket(extract(epoch FROM finished_at - accepted_at)::double precision,
            %(bounds)s::double precision[]) AS bucket, count(*) AS count,
            sum(extract(epoch FROM finished_at - accepted_at)::double precision) AS seconds
        FROM jobs
        WHERE provider = source.provider AND status = candidate.status
            AND finished_at >= %(since)s AND finished_at < %(until)s
        GROUP BY bucket) AS item
),
increments AS MATERIALIZED (
    SELECT provider, kind, outcome, bucket, sum(count)::bigint AS count, sum(seconds) AS seconds
    FROM counted WHERE count > 0 GROUP BY provider, kind, outcome, bucket ORDER BY provider, kind, outcome, bucket
),
stored_counts AS (
    INSERT INTO activity AS total (seconds, started_at, provider, kind, outcome, bucket, count)
    SELECT 60, date_trunc('minute', %(since)s::timestamptz, 'UTC'), provider, kind, outcome, bucket, count
    FROM increments
    ON CONFLICT (seconds, started_at, provider, kind, outcome, bucket) DO UPDATE SET count = total.count + excluded.count
)
SELECT provider, kind, outcome, bucket, count, seconds FROM increments

-- name: save_activity_progress
-- Store up to when rows are counted.
UPDATE activity_progress SET counted_until = %(until)s

-- name: find_counted_until
-- Return up to when rows are counted.
SELECT counted_until FROM activity_progress

-- name: merge_activity
-- Merge the minutes of all hours that ended more than 65 minutes ago, so that few rows are read for a day, and delete
-- what is older than `retention` days. The minutes of the last hour stay, with some more until they are counted.
WITH input AS MATERIALIZED (
    SELECT date_trunc('hour', now() - interval '65 minutes', 'UTC') AS merge_before,
        now() - make_interval(days => %(retention)s) AS delete_before
),
deleted_hours AS (
    DELETE FROM activity USING input WHERE seconds = 3600 AND started_at < delete_before
),
minutes AS (
    DELETE FROM activity USING input WHERE seconds = 60 AND started_at < merge_before
    RETURNING started_at, provider, kind, outcome, bucket, count
)
INSERT INTO activity AS total (seconds, started_at, provider, kind, outcome, bucket, count)
SELECT 3600, date_trunc('hour', started_at, 'UTC') AS hour, provider, kind, outcome, bucket, sum(count)
FROM minutes GROUP BY hour, provider, kind, outcome, bucket ORDER BY hour, provider, kind, outcome, bucket
ON CONFLICT (seconds, started_at, provider, kind, outcome, bucket) DO UPDATE SET count = total.count + excluded.count

-- name: list_activity
-- Return the counts of periods of `seconds` from a time up to another, of the named providers or of all providers.
-- Minutes and hours are read separately: with `seconds IN (60, 3600)`, Postgres prefers to scan the hours of all 90 days.
SELECT to_timestamp(floor(extract(epoch FROM started_at) / %(seconds)s) * %(seconds)s) AS started_at, provider, kind,
    outcome, sum(count)::bigint AS count
FROM (SELECT * FROM activity WHERE seconds = 60 UNION ALL SELECT * FROM activity WHERE seconds = 3600) AS activity
WHERE started_at >= %(since)s AND started_at < %(until)s AND kind = ANY(%(kinds)s::text[])
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s))
GROUP BY 1, provider, kind, outcome ORDER BY 1, provider, kind, outcome

-- name: count_durations
-- Return how many jobs finished from a time up to another, by provider and bucket; see list_activity.
SELECT provider, bucket, sum(count)::bigint
FROM (SELECT * FROM activity WHERE seconds = 60 UNION ALL SELECT * FROM activity WHERE seconds = 3600) AS activity
WHERE started_at >= %(since)s AND started_at < %(until)s AND kind = 'jobs'
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s))
GROUP BY provider, bucket
