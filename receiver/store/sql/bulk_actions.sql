-- name: delete_old_bulk_actions
-- Delete expired previews, and those of a client but for the newest ones. A preview whose action is being carried out
-- is skipped.
DELETE FROM bulk_actions WHERE id = ANY(ARRAY(
    SELECT id FROM bulk_actions
    WHERE expires_at <= now() OR client = %(client)s AND id NOT IN (
        SELECT id FROM bulk_actions WHERE client = %(client)s ORDER BY created_at DESC, id LIMIT %(max_previews)s)
    FOR UPDATE SKIP LOCKED))

-- name: insert_bulk_action
-- Insert a preview with the ids of at most `limit` requests that match a filter, and return the preview. The requests
-- are found as by list_requests or, with a `key` of metadata, as by list_requests_by_metadata. The accepted ones with a
-- reference conflict, if `conflicts` is true, are read along their own index. Notifications are found only if the filter
-- names their provider. Do not prepare the statement, so that the plan contains only the filters in use.
INSERT INTO bulk_actions (id, client, digest, request_ids, created_at, expires_at)
SELECT %(id)s, %(client)s, %(digest)s, coalesce(array_agg(match.id ORDER BY match.id), '{}'), now(),
    now() + make_interval(secs => %(lifetime)s)
FROM (
    SELECT item.id
    FROM operations_with_requests AS source
    CROSS JOIN unnest(%(statuses)s::text[]) AS candidate(status)
    CROSS JOIN LATERAL (
        SELECT id FROM requests
        WHERE provider = source.provider AND operation = source.operation AND status = candidate.status
            AND (%(own_client)s::text IS NULL OR client = %(own_client)s)
            AND (provider <> 'notify' OR %(own_client)s::text IS NULL AND 'notify' = ANY(%(providers)s::text[]))
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
            AND (%(reference_conflict)s::boolean IS NULL
                OR (conflict_deadline_at IS NOT NULL) = %(reference_conflict)s)
            AND (NOT %(needs_payload)s::boolean OR payload IS NOT NULL)
        LIMIT %(limit)s
    ) AS item
    WHERE %(key)s::text IS NULL
        AND (%(providers)s::text[] IS NULL
            OR ARRAY[source.provider, split_part(source.provider, '/', 1)] && %(providers)s::text[])
        AND (%(operation)s::text IS NULL OR source.operation = %(operation)s)
    UNION ALL
    SELECT id FROM requests
    WHERE %(conflicts)s::boolean AND conflict_deadline_at IS NOT NULL
        AND (%(own_client)s::text IS NULL OR client = %(own_client)s)
        AND (provider <> 'notify' OR %(own_client)s::text IS NULL AND 'notify' = ANY(%(providers)s::text[]))
        AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
        AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
        AND (%(reference_conflict)s::boolean IS NULL OR %(reference_conflict)s)
        AND (%(providers)s::text[] IS NULL OR ARRAY[provider, split_part(provider, '/', 1)] && %(providers)s::text[])
        AND (%(operation)s::text IS NULL OR operation = %(operation)s)
        AND (%(metadata)s::jsonb IS NULL OR NOT EXISTS (
            SELECT FROM jsonb_each_text(%(metadata)s) AS pair
            WHERE NOT EXISTS (
                SELECT FROM request_metadata AS entry
                WHERE entry.key = pair.key AND entry.value = pair.value
                    AND entry.created_at = requests.created_at AND entry.request_id = requests.id)))
    UNION ALL
    SELECT requests.id
    FROM request_metadata AS entry JOIN requests ON requests.id = entry.request_id
    WHERE %(key)s::text IS NOT NULL AND entry.key = %(key)s AND entry.value = %(value)s
        AND (%(created_from)s::timestamptz IS NULL OR entry.created_at >= %(created_from)s)
        AND (%(created_to)s::timestamptz IS NULL OR entry.created_at < %(created_to)s)
        AND status = ANY(%(statuses)s::text[])
        AND (NOT %(needs_payload)s::boolean OR payload IS NOT NULL)
        AND (%(providers)s::text[] IS NULL OR ARRAY[provider, split_part(provider, '/', 1)] && %(providers)s::text[])
        AND (%(operation)s::text IS NULL OR operation = %(operation)s)
        AND (%(reference_conflict)s::boolean IS NULL OR (conflict_deadline_at IS NOT NULL) = %(reference_conflict)s)
        AND (%(own_client)s::text IS NULL OR client = %(own_client)s)
        AND (provider <> 'notify' OR %(own_client)s::text IS NULL AND 'notify' = ANY(%(providers)s::text[]))
        AND (%(other_metadata)s::jsonb IS NULL OR NOT EXISTS (
            SELECT FROM jsonb_each_text(%(other_metadata)s) AS pair
            WHERE NOT EXISTS (
                SELECT FROM request_metadata AS other
                WHERE other.key = pair.key AND other.value = pair.value
                    AND other.created_at = entry.created_at AND other.request_id = entry.request_id)))
    LIMIT %(limit)s
) AS match
RETURNING id, digest, cardinality(request_ids) AS count, processed, applied, expires_at,
    request_ids[1:%(sample_size)s] AS sample_ids

-- name: lock_bulk_action
-- Lock and return a preview of a client that has not expired.
SELECT id, digest, cardinality(request_ids) AS count, processed, applied, expires_at,
    request_ids[1:%(sample_size)s] AS sample_ids
FROM bulk_actions WHERE id = %(id)s AND client = %(client)s AND expires_at > now()
FOR NO KEY UPDATE

-- name: find_next_bulk_requests
-- Return the ids of the requests of a preview that are processed next.
SELECT request_ids[processed + 1:processed + %(limit)s] FROM bulk_actions WHERE id = %(id)s

-- name: save_bulk_progress
-- Store how many more requests were processed and changed, extend the time until which the action can be continued, and
-- return the preview.
UPDATE bulk_actions SET processed = processed + %(processed)s, applied = applied + %(applied)s,
    expires_at = now() + make_interval(secs => %(lifetime)s)
WHERE id = %(id)s
RETURNING id, digest, cardinality(request_ids) AS count, processed, applied, expires_at,
    request_ids[1:%(sample_size)s] AS sample_ids
