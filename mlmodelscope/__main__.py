"""`python -m mlmodelscope` is the command `mlmodelscope`."""

from mlmodelscope.cli import main

if __name__ == "__main__":
    main()
