"""Tests of agents, driven by the real worker over a store in memory."""
