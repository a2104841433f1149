"""Controls: what an encoder must beat before its score means anything."""
