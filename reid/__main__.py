"""`python -m reid VERB`: the same as `reid VERB`."""

from reid.command import main

if __name__ == "__main__":
    main()
