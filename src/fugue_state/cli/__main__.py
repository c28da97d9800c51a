"""`python -m fugue_state.cli`, for where the command itself is not on the path."""

from fugue_state.cli import main

if __name__ == "__main__":
    main()
