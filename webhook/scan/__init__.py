"""The scan: every workload of a cluster, judged as if its namespace were enforced now. It reads, and changes nothing."""
