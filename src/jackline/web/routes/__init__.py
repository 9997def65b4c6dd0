"""The routes' functions, one module per noun. `paths.py` says which path and method calls which."""
