"""Encoders that are built in: ChAda-ViT, and the networks of timm."""
