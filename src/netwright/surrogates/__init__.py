"""Surrogates: what predicts scores from architectures or from latent points."""
