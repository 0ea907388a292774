"""What all tests of MLflow begin with."""

from test_projection import client, ledger, spec

__all__ = ["client", "ledger", "spec"]
