"""Tables: tabular benchmarks as memory-mapped files, and what makes them."""
