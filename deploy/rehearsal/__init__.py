"""The release workflow without GitHub: its own steps, in their order, against a registry on this machine."""
