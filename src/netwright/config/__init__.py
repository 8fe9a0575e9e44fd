"""What a run is: validated data (`schema`), and the objects its names stand for (`objects`)."""
