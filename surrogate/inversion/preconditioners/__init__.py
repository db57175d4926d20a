"""Estimate how much the data hear of each cell, so that updates can make up for it."""
