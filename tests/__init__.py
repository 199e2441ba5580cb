"""Tests that drive the server as a process, from outside."""
