"""HTML report, figures and terminal text of a result."""
