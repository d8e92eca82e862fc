"""A first study on CIFAR-10: small ViTs by several methods side by side, and probes of them."""
