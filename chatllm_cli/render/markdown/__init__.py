"""Markdown on a terminal: whole, or as it comes."""
