"""`python -m nulpoint` is the `nulpoint` command."""

from nulpoint.cli import main

if __name__ == "__main__":
    main()
