"""The Python API: studies and single distillation runs without a shell."""
