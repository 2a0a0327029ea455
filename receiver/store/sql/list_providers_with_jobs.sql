-- The providers that jobs are known of.
SELECT provider FROM providers_with_jobs
