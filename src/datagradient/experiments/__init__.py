"""Experiments besides refinement: what influence costs, whether its scores are right, what they depend on."""
