"""`python -m tidlq`: the same as the `tidlq` command."""

from tidlq.cli import main

if __name__ == "__main__":
    main()
