"""Small tables, tests, verdicts and MLflow runs from the result files."""
