"""The groups of tests that a version can change."""

PARTS: dict[str, tuple[str, ...]] = {
    "kubelet matrix": ("tests/conformance/test_kubelet.py",),
    "privileges": ("tests/conformance/test_privileges.py",),
    "first light": ("tests/e2e/test_first_light.py",),
    "hooks and CEL": ("tests/integration/chart/test_hooks.py", "tests/integration/cluster/test_admission_policy.py"),
    "CRDs": ("tests/integration/cluster/test_crd.py",),
    "reports": ("tests/integration/cluster/test_scheduler.py",),
    "upgrades": ("tests/e2e/test_upgrades.py",),
}
WITHOUT_A_NODE = ("hooks and CEL", "CRDs", "reports")
