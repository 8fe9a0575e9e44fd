"""Building blocks of the models: small, dense or packed, without Python loops over graphs."""
