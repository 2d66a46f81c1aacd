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

{{- /* The port that HOST:PORT or a URL ends with, else the default. An IPv6 address is in brackets. */}}
{{- define "nonroot.portOf" -}}
{{- regexFind ":[0-9]+/?$" (index . 0) | trimPrefix ":" | trimSuffix "/" | default (index . 1) -}}
{{- end }}

{{- /* Ports behind which registries are, one a line: those of `networkPolicy.registryPorts`, of every host that `registry`
       names, and of the proxies in `extraEnv`. */}}
{{- define "nonroot.registryPorts" -}}
{{- with .Values.registry -}}
{{- range $.Values.networkPolicy.registryPorts }}
{{ int . }}
{{- end }}
{{- range .insecure }}
{{ include "nonroot.portOf" (list . "80") }}
{{- end }}
{{- range $host := concat .allowed .registries (keys .authorities) (keys .clientCertificates) }}
{{ include "nonroot.portOf" (list $host "443") }}
{{- end }}
{{- range $hosts := .mirrors }}
{{- range $host := $hosts }}
{{ include "nonroot.portOf" (list $host "443") }}
{{- end }}
{{- end }}
{{- if .proxy }}
{{- range concat $.Values.extraEnv $.Values.controller.extraEnv }}
{{- if and (regexMatch "(?i)^https?_proxy$" .name) .value }}
{{ include "nonroot.portOf" (list .value (ternary "443" "80" (hasPrefix "https:" .value))) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
{{- end }}

{{- /* Registries are anywhere; which of them may be asked is the Pods' image names' and `registry`'s business. */}}
{{- define "nonroot.registryEgress" -}}
- ports:
    {{- range include "nonroot.registryPorts" . | trim | splitList "\n" | compact | uniq }}
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

{{- define "nonroot.ciliumRegistryPorts" -}}
toPorts:
  - ports:
      {{- range include "nonroot.registryPorts" . | trim | splitList "\n" | compact | uniq }}
      - port: {{ . | quote }}
        protocol: TCP
      {{- end }}
{{- end }}
