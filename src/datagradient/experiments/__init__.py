"""Experiments besides refinement: cost, correctness and sensitivity of influence, few right labels."""
