"""Ways to compute the shards of a job: in this process, in several, or by Ray."""
