"""Replication of "The Data Gradient" (DOI 10.70389/pjcs.100014) and a tool for cleaning training data."""

__version__ = "0.1.0"
