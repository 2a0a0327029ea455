-- The providers that callbacks are known of.
SELECT provider FROM providers_with_callbacks
