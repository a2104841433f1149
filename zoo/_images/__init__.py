"""One image: from a file to pixels to prepared planes to a ragged batch."""
