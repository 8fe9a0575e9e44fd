"""Search spaces: which architectures are legal, how they are drawn, edited, named, enumerated."""
