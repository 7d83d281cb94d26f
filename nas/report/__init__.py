"""Tables, plots, listings and the report page."""
