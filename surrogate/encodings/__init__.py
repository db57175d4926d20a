"""Encode the inputs of a task as the fields that an operator reads."""
