"""Influence: problems (gradients and curvature), solvers (S = (H + δI)⁻¹ v) and scores (I = −gᵀS)."""
