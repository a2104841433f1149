"""Pages, figures and text of a result."""
