-- Delete all refusals of a provider, so that all credentials are tried again.
DELETE FROM refused_credentials WHERE provider = %(name)s
