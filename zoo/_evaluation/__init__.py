"""Tasks, controls, bootstrap, verdicts and scorecards."""
