"""The cluster of `evenkeel.testing.postgres`, under the name by which tests here know it."""

from evenkeel.testing.postgres import Cluster, cluster

__all__ = ["Cluster", "cluster"]
