{{- /* How registries may be spoken to: the file of --registry-config, and the volume that holds it. */}}

{{- /* HOST or HOST:PORT as the name of a file. */}}
{{- define "nonroot.hostFile" -}}
{{- regexReplaceAll "[^a-zA-Z0-9.-]" . "_" -}}
{{- end }}

{{- /* The file, {} where nothing is set. `insecure` are arguments instead. Paths are relative to the file. */}}
{{- define "nonroot.registryConfig" -}}
{{- $registry := .Values.registry }}
{{- $config := dict }}
{{- range list "allowed" "registries" "mirrors" "certsDirectory" "credentialHelpers" "deniedNetworks" "proxy" "timeouts" "tagLife" }}
{{- if index $registry . }}
{{- $_ := set $config . (index $registry .) }}
{{- end }}
{{- end }}
{{- $authorities := dict }}
{{- range $host, $_ := $registry.authorities }}
{{- $_ := set $authorities $host (printf "authorities/%s.crt" (include "nonroot.hostFile" $host)) }}
{{- end }}
{{- with $authorities }}
{{- $_ := set $config "authorities" . }}
{{- end }}
{{- if $registry.authority }}
{{- $_ := set $config "authority" "authority.crt" }}
{{- end }}
{{- $clients := dict }}
{{- range $host, $_ := $registry.clientCertificates }}
{{- $file := printf "clients/%s" (include "nonroot.hostFile" $host) }}
{{- $_ := set $clients $host (dict "certificate" (printf "%s.crt" $file) "key" (printf "%s.key" $file)) }}
{{- end }}
{{- with $clients }}
{{- $_ := set $config "clientCertificates" . }}
{{- end }}
{{- if $registry.dockerConfigSecret }}
{{- $_ := set $config "dockerConfig" "docker-config.json" }}
{{- else if $registry.credentialHelpers }}
{{- fail "registry.credentialHelpers are named by a docker config: set registry.dockerConfigSecret too" }}
{{- end }}
{{- with $registry.credentialProviders }}
{{- if ne (empty .config) (empty .binDirectory) }}
{{- fail "registry.credentialProviders needs both config and binDirectory, or neither" }}
{{- end }}
{{- if .config }}
{{- $_ := set $config "credentialProviders" (dict "config" "credential-providers.yaml" "binDirectory" .binDirectory) }}
{{- end }}
{{- end }}
{{- if and $registry.mirrors $registry.certsDirectory }}
{{- fail "registry.mirrors and registry.certsDirectory both say whom to ask: set one of them" }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- /* Not empty where there is a file. */}}
{{- define "nonroot.registryConfigured" -}}
{{- if ne (include "nonroot.registryConfig" .) "{}" -}}
true
{{- end -}}
{{- end }}

{{- /* Pods read the file at their start: another one means other Pods. */}}
{{- define "nonroot.registryAnnotations" -}}
{{- if include "nonroot.registryConfigured" . -}}
checksum/registry: {{ printf "%s%s" (include "nonroot.registryConfig" .) (toYaml .Values.registry.credentialProviders) | sha256sum }}
{{- end -}}
{{- end }}

{{- /* What a Pod that asks registries is given: arguments, where the file is mounted, and the volume. */}}
{{- define "nonroot.registryArguments" -}}
{{- range .Values.registry.insecure }}
- {{ printf "--insecure-registry=%s" . | quote }}
{{- end }}
{{- if include "nonroot.registryConfigured" . }}
- --registry-config=/registry/config.yaml
{{- end }}
{{- end }}

{{- define "nonroot.registryMount" -}}
{{- if include "nonroot.registryConfigured" . }}
- name: registry
  mountPath: /registry
  readOnly: true
{{- end }}
{{- end }}

{{- define "nonroot.registryVolume" -}}
{{- if include "nonroot.registryConfigured" . }}
- name: registry
  projected:
    sources:
      {{- include "nonroot.registrySources" . | nindent 6 }}
{{- end }}
{{- end }}

{{- /* Who asks registries, and so needs pull secrets. */}}
{{- define "nonroot.imageReaders" -}}
- kind: ServiceAccount
  name: {{ include "nonroot.admissionServiceAccount" . }}
  namespace: {{ include "nonroot.namespace" . }}
{{- if .Values.scan.interval }}
- kind: ServiceAccount
  name: {{ include "nonroot.controllerServiceAccount" . }}
  namespace: {{ include "nonroot.namespace" . }}
{{- end }}
{{- end }}

{{- define "nonroot.registryConfigMap" -}}
{{- include "nonroot.fullname" . }}-registry
{{- end }}

{{- /* The volume's sources: the ConfigMap and what it refers to. None is optional: without it admission would not know
       what it was told to trust. */}}
{{- define "nonroot.registrySources" -}}
- configMap:
    name: {{ include "nonroot.registryConfigMap" . }}
{{- with .Values.registry.dockerConfigSecret }}
- secret:
    name: {{ . }}
    items:
      - key: .dockerconfigjson
        path: docker-config.json
{{- end }}
{{- with .Values.registry.authority }}
- {{ ternary "secret" "configMap" (hasKey . "secret") }}:
    name: {{ .secret | default .configMap }}
    items:
      - key: {{ .key }}
        path: authority.crt
{{- end }}
{{- range $host, $source := .Values.registry.authorities }}
- {{ ternary "secret" "configMap" (hasKey $source "secret") }}:
    name: {{ $source.secret | default $source.configMap }}
    items:
      - key: {{ $source.key }}
        path: authorities/{{ include "nonroot.hostFile" $host }}.crt
{{- end }}
{{- range $host, $name := .Values.registry.clientCertificates }}
- secret:
    name: {{ $name }}
    items:
      - key: tls.crt
        path: clients/{{ include "nonroot.hostFile" $host }}.crt
      - key: tls.key
        path: clients/{{ include "nonroot.hostFile" $host }}.key
{{- end }}
{{- end }}
