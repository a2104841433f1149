"""Questions beyond the scores, one file each."""
