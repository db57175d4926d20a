"""Engines that no backend name reaches."""
