"""What puts load on a proxy: wrk where it can, a lean client of our own where it cannot."""
