"""Properties that must hold for any text: a few fixed examples in `make test`, new ones for ten
minutes in `make fuzz`. A failure found there becomes an `@example` here."""
