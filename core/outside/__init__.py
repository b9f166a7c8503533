"""What comes from outside: text made storable and harmless to print, secrets kept out, consoles."""
