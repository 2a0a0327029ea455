"""The worker process: runs the loops of `outbound` and `followup`."""
