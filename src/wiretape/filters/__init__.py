"""The filter language: which exchanges are meant. Text in, a typed tree out, a predicate over an exchange."""
