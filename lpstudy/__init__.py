"""Distributed hyperparameter studies of knowledge distillation."""

__version__ = "0.1.0"
