"""The `Encoder` base class, loading and batching."""
