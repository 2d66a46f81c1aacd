"""What development needs and no test is: images to try things with, and a registry to serve them."""
