"""An MCP server that reads this host and manages scratch services and files of its own making.

`python -m jackline.demo [--dir DIRECTORY]` speaks MCP on stdin and stdout. What it reads is real; what
it writes stays in its scratch directory.
"""
