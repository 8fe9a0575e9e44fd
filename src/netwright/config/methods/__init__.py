"""The settings of every search method, and what makes the searcher of them."""
