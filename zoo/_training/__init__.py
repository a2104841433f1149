"""Training encoders by self-distillation and on labels, on images of any channel counts."""
