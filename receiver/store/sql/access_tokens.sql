-- name: find_access_token
-- Return the token for a provider's credentials, with times as seconds from now, negative for those that have passed.
SELECT version, token, failure, is_refusal, failures,
    extract(epoch FROM renew_at - clock_timestamp())::double precision AS renew_in,
    extract(epoch FROM expires_at - clock_timestamp())::double precision AS valid_for,
    extract(epoch FROM retry_at - clock_timestamp())::double precision AS retry_in
FROM access_tokens WHERE provider = %(provider)s AND fingerprint = %(fingerprint)s

-- name: lease_token_renewal
-- Lease the renewal of a token, unless it is leased, was renewed in the meantime, or failed too recently.
INSERT INTO access_tokens AS stored (provider, fingerprint, lease_id, leased_until, retry_at)
VALUES (%(provider)s, %(fingerprint)s, %(lease_id)s, now() + make_interval(secs => %(lease)s), now())
ON CONFLICT (provider, fingerprint) DO UPDATE SET lease_id = excluded.lease_id, leased_until = excluded.leased_until
WHERE stored.version = %(version)s AND stored.leased_until <= excluded.retry_at
    AND stored.retry_at <= excluded.retry_at
RETURNING version

-- name: save_access_token
-- Store a new token and end the lease of its renewal; return nothing if another worker has taken over the lease.
UPDATE access_tokens SET version = version + 1, token = %(token)s,
    renew_at = now() + make_interval(secs => %(renew_in)s), expires_at = now() + make_interval(secs => %(valid_for)s),
    leased_until = now(), failure = NULL, is_refusal = false, failures = 0, retry_at = now()
WHERE provider = %(provider)s AND fingerprint = %(fingerprint)s AND lease_id = %(lease_id)s
RETURNING version

-- name: save_token_failure
-- Store why a renewal failed, and end its lease.
UPDATE access_tokens SET leased_until = now(), failure = %(failure)s, is_refusal = %(is_refusal)s,
    failures = failures + 1, retry_at = now() + make_interval(secs => %(retry_in)s)
WHERE provider = %(provider)s AND fingerprint = %(fingerprint)s AND lease_id = %(lease_id)s

-- name: discard_access_token
-- Let a refused token expire, and return whether another one may be accepted: false if one was refused in the window
-- before, and none was accepted since. A token that has expired, or was renewed in the meantime, stays as it is.
WITH discarded AS (
    SELECT refused_at FROM access_tokens
    WHERE provider = %(provider)s AND fingerprint = %(fingerprint)s AND version = %(version)s AND expires_at > now()
    FOR UPDATE
),
updated AS (
    UPDATE access_tokens SET expires_at = now(), refused_at = now() FROM discarded
    WHERE provider = %(provider)s AND fingerprint = %(fingerprint)s
)
SELECT NOT EXISTS (SELECT FROM discarded WHERE refused_at > now() - make_interval(secs => %(window)s))

-- name: confirm_access_token
-- Forget the refusal of the token before this one, which the provider accepted.
UPDATE access_tokens SET refused_at = NULL
WHERE provider = %(provider)s AND fingerprint = %(fingerprint)s AND version = %(version)s AND expires_at > now()
    AND refused_at IS NOT NULL

-- name: delete_unused_access_tokens
-- Delete tokens that expired a month ago: those of former credentials, and of providers that were removed.
DELETE FROM access_tokens WHERE greatest(expires_at, leased_until, retry_at) < now() - interval '30 days'
