"""The `onnxshallow` command, and `python -m onnxshallow`."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; an interruption while modules are still imported ends it quietly too."""
    try:
        from onnxshallow.cli.main import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
