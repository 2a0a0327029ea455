-- Return when each secret last matched.
SELECT provider, fingerprint, last_used_at FROM secret_uses ORDER BY provider, last_used_at DESC
