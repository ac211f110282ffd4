"""The recordings and the shop of the jobs, for the pages that show them."""

from tests.jobs.conftest import recordings, shop

__all__ = ["recordings", "shop"]
