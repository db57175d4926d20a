"""Draw random velocity models."""
