"""Further forms of an exported network, for other tools."""
