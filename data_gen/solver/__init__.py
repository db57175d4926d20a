"""Solve the acoustic wave equation, differentiably."""
