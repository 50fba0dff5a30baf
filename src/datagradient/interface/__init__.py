"""The functions for a user's own code, which `datagradient` offers by name."""

from datagradient.interface.scores import InfluenceResult, Verification, influence_scores

__all__ = ["InfluenceResult", "Verification", "influence_scores"]
