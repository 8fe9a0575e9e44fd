"""Architectures become `torch.nn.Module`s: the cells of the benchmarks, and what they cost."""
