"""The ways in over HTTP: parse, call one use case, answer. No rule of the business lives here."""
