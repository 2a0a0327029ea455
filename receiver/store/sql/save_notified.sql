-- Store which final state of each request was notified last.
UPDATE requests SET last_notified_digest = input.digest
FROM unnest(%(ids)s::uuid[], %(digests)s::bytea[]) AS input(id, digest)
WHERE requests.id = input.id AND requests.id = ANY(%(ids)s::uuid[])
