"""Single images: reading, checking, preprocessing, perturbing, and packing into ragged batches."""
