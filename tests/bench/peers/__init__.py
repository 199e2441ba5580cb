"""Everybody who answers the questions, each in a file of its own."""
