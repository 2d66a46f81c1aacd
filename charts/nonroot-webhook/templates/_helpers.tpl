{{- /* Names. */}}

{{- define "nonroot.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- /* Without the release's name: the webhook configurations allow only one release in a cluster anyway. 45 characters
       leave room for the longest suffix, and for the hash that a ReplicaSet adds. */}}
{{- define "nonroot.fullname" -}}
{{- default (include "nonroot.name" .) .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- end }}

{{- define "nonroot.mutatingConfiguration" -}}
zz-nonroot-webhook
{{- end }}

{{- define "nonroot.validatingConfiguration" -}}
nonroot-webhook
{{- end }}

{{- /* cert-manager's Secrets are not the controller's: when the mode changes, running replicas go on with the certificate
       that they serve until others have taken over, and the controller's CA is still there to come back to. */}}
{{- define "nonroot.tlsSecret" -}}
{{- if eq .Values.certificates.mode "existing" -}}
{{- required "certificates.existingSecret names the Secret to serve with, when certificates.mode is existing" .Values.certificates.existingSecret -}}
{{- else -}}
{{- include "nonroot.fullname" . }}{{ ternary "-cert-manager" "-tls" (eq .Values.certificates.mode "certManager") }}
{{- end -}}
{{- end }}

{{- define "nonroot.caSecret" -}}
{{- include "nonroot.fullname" . }}{{ ternary "-cert-manager-ca" "-ca" (eq .Values.certificates.mode "certManager") }}
{{- end }}

{{- define "nonroot.admissionServiceAccount" -}}
{{- with .Values.serviceAccount -}}
{{- .name | default (ternary (printf "%s-admission" (include "nonroot.fullname" $)) "default" .create) -}}
{{- end -}}
{{- end }}

{{- define "nonroot.controllerServiceAccount" -}}
{{- with .Values.controller.serviceAccount -}}
{{- .name | default (ternary (printf "%s-controller" (include "nonroot.fullname" $)) "default" .create) -}}
{{- end -}}
{{- end }}

{{- /* Labels. Selectors never change: a Deployment's cannot, so an upgrade would fail. */}}

{{- define "nonroot.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nonroot.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* part-of is the handle of the off switch: it must be the same however the chart is named. */}}
{{- define "nonroot.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "nonroot.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: nonroot-webhook
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nonroot.admissionLabels" -}}
{{ include "nonroot.selectorLabels" . }}
app.kubernetes.io/component: admission
{{- end }}

{{- define "nonroot.controllerLabels" -}}
{{ include "nonroot.selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- /* What all Pods of ours share. */}}

{{- define "nonroot.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- $name := ternary (printf "%s/%s" $registry .Values.image.repository) .Values.image.repository (ne $registry "") -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $name .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- /* Called with the labels of the Pod's own kind, and annotations as a dict. */}}
{{- define "nonroot.podMetadata" -}}
{{- $context := index . 0 -}}
labels:
  {{- index . 1 | nindent 2 }}
  app.kubernetes.io/part-of: nonroot-webhook
  {{- with merge (dict) $context.Values.commonLabels $context.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) $context.Values.podAnnotations (index . 2) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The controller's own list, after admission's where it scans: what registries need, both need. */}}
{{- define "nonroot.controllerExtra" -}}
{{- $values := (index . 0).Values -}}
{{- $key := index . 1 -}}
{{- toYaml (ternary (concat (index $values $key) (index $values.controller $key) | uniq) (index $values.controller $key) (gt (int $values.scan.interval) 0)) -}}
{{- end }}

{{- define "nonroot.podSpec" -}}
{{- with concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Ports of `registry.insecure`, one a line: what follows the last colon, else 80. An IPv6 address is in brackets. */}}
{{- define "nonroot.insecurePorts" -}}
{{- range .Values.registry.insecure -}}
{{- regexFind ":[0-9]+$" . | trimPrefix ":" | default "80" }}
{{ end -}}
{{- end }}

{{- /* Not empty where NonRootPolicy objects can be part of the release. */}}
{{- define "nonroot.policiesRendered" -}}
{{- if or (not .Values.crds.install) (.Capabilities.APIVersions.Has "nonroot.dev/v1alpha1/NonRootPolicy") -}}
true
{{- end -}}
{{- end }}
