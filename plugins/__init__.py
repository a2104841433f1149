"""The built-in encoders and datasets, written as an outsider would write them."""
