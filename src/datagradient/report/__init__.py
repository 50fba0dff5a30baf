"""Tables and figures, drawn from the small result tables."""
