"""What an encoder is, how it is loaded and how it is run."""
