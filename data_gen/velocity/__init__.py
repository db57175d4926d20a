"""Draw random velocity models, and read models from files."""
