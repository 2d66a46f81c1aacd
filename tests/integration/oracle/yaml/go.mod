// The YAML reader of Kubernetes, as the oracle of tests/integration/oracle/test_yaml.py.
module nonroot.invalid/tests/oracle-yaml

go 1.25.0

require sigs.k8s.io/yaml v1.6.0

require go.yaml.in/yaml/v2 v2.4.2 // indirect
