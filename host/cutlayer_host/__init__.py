"""The host: link, tail and trainer."""
