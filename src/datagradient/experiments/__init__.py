"""Experiments besides refinement: the cost of influence, and the correctness and sensitivity of its scores."""
