"""Agents: the protocol, the default one on Pydantic AI, and plain functions."""
