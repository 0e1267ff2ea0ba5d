"""The converter: a Keras model and a cut become a bundle."""
