"""What a run looks like: one self-contained HTML page, and drawings of architectures."""
