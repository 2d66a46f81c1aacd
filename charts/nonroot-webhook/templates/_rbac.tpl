{{- /* What a scan reads of a cluster, beside namespaces, policies and exceptions: the controller, and `nonroot scan`. */}}
{{- define "nonroot.scanRules" -}}
# The scan: what runs, and who makes it, as it changes. No Secret is among this.
- apiGroups: [""]
  resources: [pods, replicationcontrollers]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments, replicasets, statefulsets, daemonsets]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [nodes, serviceaccounts]
  verbs: [list]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# Which namespaces the hooks reach.
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations]
  resourceNames: [{{ include "nonroot.validatingConfiguration" . }}]
  verbs: [get]
{{- end }}

{{- /* Where no registry may have an address: read once, at the start. */}}
{{- define "nonroot.serviceRangeRules" -}}
# The addresses of Services, which no registry may have.
- apiGroups: [networking.k8s.io]
  resources: [servicecidrs]
  verbs: [list]
{{- end }}
