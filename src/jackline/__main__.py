"""`python -m jackline` is the `jackline` command."""

from jackline.cli import main

if __name__ == "__main__":
    main()
