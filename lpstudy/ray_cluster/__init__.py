"""A study on Ray: the backend, its sessions and watches, and the adapters of Ray Tune and Ray Train."""
