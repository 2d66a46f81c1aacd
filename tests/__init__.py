"""Tests, one module for each module of the program; slower parts are marked."""
