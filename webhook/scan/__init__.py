"""The scan: every workload of a cluster, evaluated as if its namespace were enforced now. It reads, and changes nothing."""
