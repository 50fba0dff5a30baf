"""Tables and figures, drawn from the small result tables; pages, each one offline HTML file."""
