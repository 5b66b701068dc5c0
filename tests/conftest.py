"""Shared by all tests; its place also puts this folder's helper modules on the import path."""
