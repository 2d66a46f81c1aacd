"""Pods and controllers, as the API server writes them: Pod specs, templates and what a Pod's status reports. No I/O."""
