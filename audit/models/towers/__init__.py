"""CLIP's own towers, written out: Vision Transformer, modified ResNet, text transformer, words."""
