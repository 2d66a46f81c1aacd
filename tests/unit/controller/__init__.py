"""The controller: certificates and what keeps them."""
