-- The result of verification is stored with a callback: the callback itself no longer contains the secret that proved
-- its sender, so it cannot be verified again.
-- depends: 0001_baseline

-- null in a row of an earlier release: verified unless the verdict is `refused`
ALTER TABLE callbacks ADD COLUMN verified boolean;

-- the fingerprint of the secret that matched, see `secret_uses`; null for a public key
ALTER TABLE callbacks ADD COLUMN secret_fingerprint text;
