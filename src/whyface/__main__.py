"""``python -m whyface``."""

from whyface.cli import main

if __name__ == "__main__":
    main()
