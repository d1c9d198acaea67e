"""What `tools/train_zoo.py` is made of: images, networks, training, and the files written."""
