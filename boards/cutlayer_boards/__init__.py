"""Boards: their specs, firmware builds and emulators."""
