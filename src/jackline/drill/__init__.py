"""Faults against a real server, and what they did to the guarantees."""
