"""`python -m nulpoint` is the `nulpoint` command."""

from nulpoint.cli.main import main

if __name__ == "__main__":
    main()
