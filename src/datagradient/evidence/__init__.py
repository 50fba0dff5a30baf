"""From result files to small tables, tests, verdicts and MLflow."""
