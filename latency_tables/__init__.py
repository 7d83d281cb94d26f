"""What a network costs on a device: tables of measured blocks, and the protocol by which they are measured."""
