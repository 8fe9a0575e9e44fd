"""Generators: trainable distributions over architecture graphs."""
