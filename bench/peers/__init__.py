"""What is measured: wiretape, its peers, the practical limit, and no proxy at all. One module each way of starting."""
