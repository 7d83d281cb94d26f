"""Progress, files and distributed processes."""
