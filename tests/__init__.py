"""The suite mirrors src/wiretape; tests/support holds what every layer's tests share."""
