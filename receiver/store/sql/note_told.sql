-- Keep which end of each request was told last.
UPDATE requests SET told = given.digest
FROM unnest(%(ids)s::uuid[], %(digests)s::bytea[]) AS given(id, digest)
WHERE requests.id = given.id AND requests.id = ANY(%(ids)s::uuid[])
