"""Latency tables: the cost of networks on a device, from measured blocks, and the protocol by which they are measured."""
