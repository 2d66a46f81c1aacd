{{- /* What a scan reads of a cluster, beside namespaces, policies and exceptions: the controller, and `nonroot scan`.
       Takes the verbs: the controller watches, too. */}}
{{- define "nonroot.scanRules" -}}
# The scan: what runs, and who makes it. No Secret is among this.
- apiGroups: [""]
  resources: [pods, replicationcontrollers]
  verbs: [{{ . }}]
- apiGroups: [apps]
  resources: [deployments, replicasets, statefulsets, daemonsets]
  verbs: [{{ . }}]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [{{ . }}]
- apiGroups: [""]
  resources: [nodes, serviceaccounts]
  verbs: [list]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# Whether an fsGroup gives volumes to a process, which their drivers say.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list]
- apiGroups: [storage.k8s.io]
  resources: [csidrivers, storageclasses]
  verbs: [list]
{{- end }}

{{- /* Where no registry may have an address: listed once a minute. */}}
{{- define "nonroot.serviceRangeRules" -}}
# The addresses of Services, which no registry may have.
- apiGroups: [networking.k8s.io]
  resources: [servicecidrs]
  verbs: [list]
{{- end }}

{{- /* Binds subjects, where there are any, to a ClusterRole of ours. */}}
{{- define "nonroot.subjectsBinding" -}}
{{- $name := printf "%s-%s" (include "nonroot.fullname" (index . 0)) (index . 1) -}}
{{- if index . 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  {{- include "nonroot.metadata" (dict "context" (index . 0)) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  {{- toYaml (index . 2) | nindent 2 }}
{{- end }}
{{- end }}
