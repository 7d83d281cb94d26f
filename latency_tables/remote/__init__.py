"""Devices that are not this machine."""
