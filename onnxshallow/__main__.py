"""`python -m onnxshallow` is the same as `onnxshallow`."""

from onnxshallow.cli.main import main

if __name__ == "__main__":
    main()
