"""The workflow's files and jobs: layout, configuration, provenance, what one job does."""
