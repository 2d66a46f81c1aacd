"""The evaluation of a workload under a policy, behind every command: findings, verdict and JSON Patch. No I/O."""
