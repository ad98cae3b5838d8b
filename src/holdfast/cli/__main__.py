"""`python -m holdfast.cli` and the installed `holdfast`: the release in charge of the home carries the command out."""

from __future__ import annotations


def main() -> None:
    """Entry point."""
    from holdfast.cli.handing_over import hand_over

    hand_over()
    from holdfast.cli.main import main as run  # after it: what is not needed is not imported

    run()


if __name__ == "__main__":
    main()
