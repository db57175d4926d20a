"""Minimize by a cheap forward model that a trust region corrects, so that it can slow down but never mislead."""
