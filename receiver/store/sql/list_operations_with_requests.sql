-- The operations that requests are known of, by provider.
SELECT provider, operation FROM operations_with_requests
