"""Environments of encoders whose dependencies clash with ours, and the processes in them."""
