{{- /* The rules that both NetworkPolicies have. */}}

{{- define "nonroot.metricsIngress" -}}
- ports:
    - protocol: TCP
      port: metrics
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* Registries are anywhere; which of them may be asked is the Pods' image names' and `registry`'s business. */}}
{{- define "nonroot.registryEgress" -}}
- ports:
    {{- $ports := list }}
    {{- range .Values.networkPolicy.registryPorts }}
    {{- $ports = append $ports (int .) }}
    {{- end }}
    {{- range include "nonroot.insecurePorts" . | trim | splitList "\n" | compact }}
    {{- $ports = append $ports (int .) }}
    {{- end }}
    {{- range $ports | uniq }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end }}

{{- /* DNS by port alone: it may be a Pod, the node's own cache, or neither. 5353 is where OpenShift's Pods have it. */}}
{{- define "nonroot.commonEgress" -}}
- ports:
    {{- range $port := list 53 5353 }}
    {{- range $protocol := list "UDP" "TCP" }}
    - protocol: {{ $protocol }}
      port: {{ $port }}
    {{- end }}
    {{- end }}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - protocol: TCP
      port: {{ . }}
    {{- end }}
{{- end }}
