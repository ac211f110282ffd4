"""Tests of wiretape.wire."""
