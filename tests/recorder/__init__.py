"""Tests of wiretape.recorder."""
