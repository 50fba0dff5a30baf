"""The workflow's files and jobs: layout, configuration, provenance, and the work of single jobs."""
