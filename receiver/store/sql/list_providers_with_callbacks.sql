-- Return the providers that have callbacks.
SELECT provider FROM providers_with_callbacks
