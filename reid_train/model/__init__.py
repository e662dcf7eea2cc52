"""The network: backbone, pooling, head, neck, classifier, and the weights that it starts from."""
