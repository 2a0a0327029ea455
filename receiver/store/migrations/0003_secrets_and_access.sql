-- Callbacks without secrets, and lists of what one client submitted.
-- depends: 0001_baseline

-- The result of verification is stored with a callback: the callback itself no longer contains the secret that proved
-- its sender, so it cannot be verified again. Null in a row of an earlier release: verified unless `refused`.
ALTER TABLE callbacks ADD COLUMN verified boolean;

-- the fingerprint of the secret that matched, see `secret_uses`; null for a public key
ALTER TABLE callbacks ADD COLUMN secret_fingerprint text;

-- The list of a client's requests is read like the list of all, see `requests_list_idx`.
CREATE INDEX requests_client_idx ON requests (client, provider, operation, status, created_at, id);
