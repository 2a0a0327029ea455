-- Let all credentials of a provider be tried again.
DELETE FROM refused_credentials WHERE provider = %(name)s
