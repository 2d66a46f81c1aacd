"""What deploy/ and .github/ hold for users, each exercised as far as a machine without its other half can."""
