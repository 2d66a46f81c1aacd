"""Questions put to the real Go libraries and to us; a Go program answers for them."""
