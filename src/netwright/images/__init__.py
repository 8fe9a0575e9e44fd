"""Image data sets as tensors: built-in digits, the user's own folders, splits, augmentation."""
