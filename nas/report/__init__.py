"""What people see: tables, plots, listings."""
