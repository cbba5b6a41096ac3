"""Spaces learned from photographs: facts of files, statistics of pixels, simulations, inference."""
