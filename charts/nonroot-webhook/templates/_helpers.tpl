{{- /* Names. */}}

{{- /* A name that is part of object names, checked where it is used: the message of a schema would not say why. */}}
{{- define "nonroot.checkedName" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (index . 1)) -}}
{{- fail (printf "%s: %q cannot be part of a Service's name: use lower-case letters, digits and dashes, and begin with a letter" (index . 0) (index . 1)) -}}
{{- end -}}
{{- index . 1 -}}
{{- end }}

{{- define "nonroot.name" -}}
{{- include "nonroot.checkedName" (list "nameOverride" (default .Chart.Name .Values.nameOverride | toString | trunc 63 | trimSuffix "-")) -}}
{{- end }}

{{- /* Without the release's name: the webhook configurations allow only one release in a cluster anyway. 45 characters
       leave room for the longest suffix, and for the hash that a ReplicaSet adds. */}}
{{- define "nonroot.fullname" -}}
{{- include "nonroot.checkedName" (list "fullnameOverride" (default (include "nonroot.name" .) .Values.fullnameOverride | toString | trunc 45 | trimSuffix "-")) -}}
{{- end }}

{{- /* All namespaced objects are here, and here alone may Helm have been told another namespace. */}}
{{- define "nonroot.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
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
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* part-of is the handle of the off switch: it must be the same however the chart is named. */}}
{{- define "nonroot.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "nonroot.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: nonroot-webhook
{{- end }}

{{- /* Labels of the values `commonLabels` and `podLabels`: none may be one that selectors or the off switch look for. */}}
{{- define "nonroot.extraLabels" -}}
{{- $labels := index . 1 -}}
{{- range $key := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/part-of" "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "helm.sh/chart" -}}
{{- if hasKey $labels $key -}}
{{- fail (printf "%s: the chart sets the label %s itself, because its selectors and the off switch depend on it; remove it" (index $ 0) $key) -}}
{{- end -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end }}

{{- /* Labels and annotations of an object's metadata. Called with a dict: context, and where there are any component,
       labels and annotations. */}}
{{- define "nonroot.metadata" -}}
{{- $values := .context.Values -}}
{{- $labels := include "nonroot.labels" .context | fromYaml -}}
{{- with .component -}}
{{- $_ := set $labels "app.kubernetes.io/component" . -}}
{{- end -}}
labels:
  {{- merge $labels (deepCopy (.labels | default dict)) (include "nonroot.extraLabels" (list "commonLabels" $values.commonLabels) | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) $values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
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

{{- /* What the values say of one component's Pods, as YAML. The controller has admission's, but for those keys that
       `controller` has, too. Called with the context and the component's name. */}}
{{- define "nonroot.podSettings" -}}
{{- $values := (index . 0).Values -}}
{{- $settings := dict -}}
{{- range $key := list "nodeSelector" "tolerations" "priorityClassName" "podAnnotations" "podLabels" "podSecurityContext" "securityContext" "dnsPolicy" "dnsConfig" "hostAliases" "runtimeClassName" "schedulerName" "revisionHistoryLimit" "deploymentAnnotations" "deploymentLabels" "tokenExpirationSeconds" -}}
{{- $_ := set $settings $key (index $values $key) -}}
{{- end -}}
{{- if eq (index . 1) "controller" -}}
{{- range $key, $value := $values.controller -}}
{{- if and (hasKey $settings $key) (not (kindIs "invalid" $value)) -}}
{{- $_ := set $settings $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end }}

{{- /* Called with a dict: context, settings (of nonroot.podSettings), labels as YAML, and annotations as a dict. */}}
{{- define "nonroot.podMetadata" -}}
{{- $own := .labels | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "nonroot-webhook" -}}
labels:
  {{- merge $own (include "nonroot.extraLabels" (list "podLabels" .settings.podLabels) | fromYaml) .context.Values.commonLabels | toYaml | nindent 2 }}
{{- with merge (dict) .settings.podAnnotations .annotations .context.Values.commonAnnotations }}
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

{{- /* Pull secrets of a Pod: names, or objects with a name, as other charts have them. */}}
{{- define "nonroot.pullSecretNames" -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
{{- if kindIs "map" . }}
- {{ .name | quote }}
{{- else }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What the Pods of both components have in common. Called with the context and nonroot.podSettings. */}}
{{- define "nonroot.podSpec" -}}
{{- $context := index . 0 -}}
{{- $settings := index . 1 -}}
{{- with $settings -}}
{{- with include "nonroot.pullSecretNames" $context | fromYamlArray | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .schedulerName }}
schedulerName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .podSecurityContext | nindent 2 }}
{{- range $key := list "nodeSelector" "tolerations" "dnsConfig" "hostAliases" }}
{{- with index $settings $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nonroot.logArguments" -}}
{{- if ne .Values.logging.level "info" }}
- --log-level={{ .Values.logging.level }}
{{- end }}
{{- if ne .Values.logging.format "text" }}
- --log-format={{ .Values.logging.format }}
{{- end }}
{{- end }}

{{- define "nonroot.tlsArguments" -}}
{{- if ne .Values.webhook.tls.minVersion "1.2" }}
- {{ printf "--tls-min-version=%s" .Values.webhook.tls.minVersion | quote }}
{{- if .Values.webhook.tls.ciphers }}
{{- fail "webhook.tls.ciphers chooses among the cipher suites of TLS 1.2, which webhook.tls.minVersion rules out: leave out one of them" }}
{{- end }}
{{- end }}
{{- range .Values.webhook.tls.ciphers }}
- --tls-cipher-suite={{ . }}
{{- end }}
{{- end }}

{{- define "nonroot.metricsAuthenticationArgument" -}}
{{- if .Values.metrics.authentication }}
{{- if not .Values.metrics.secure }}
{{- fail "metrics.authentication needs metrics.secure: tokens are as good as passwords" }}
{{- end }}
- --metrics-authentication
{{- end }}
{{- end }}

{{- /* Where probes of both components look. */}}
{{- define "nonroot.probePort" -}}
port: metrics
{{- if .Values.metrics.secure }}
scheme: HTTPS
{{- end }}
{{- end }}

{{- /* With `tokenExpirationSeconds` the token is mounted as the kubelet does it by itself, but for its lifetime. */}}
{{- define "nonroot.tokenMount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{- define "nonroot.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ . }}
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}

{{- /* Not empty where NonRootPolicy objects can be part of the release. A real API server that does not know their kind
       yet has kube-system; `helm template` and Argo CD, which sort kinds themselves, look up nothing. */}}
{{- define "nonroot.policiesRendered" -}}
{{- if or (not .Values.crds.install) (.Capabilities.APIVersions.Has "nonroot.dev/v1alpha1/NonRootPolicy") (not (lookup "v1" "Namespace" "" "kube-system")) -}}
true
{{- end -}}
{{- end }}

{{- /* The volume of a CA that clients' certificates are verified by, from a ConfigMap or a Secret. */}}
{{- define "nonroot.authorityVolume" -}}
{{- $source := index . 1 -}}
- name: {{ index . 0 }}
  {{- if $source.secret }}
  secret:
    secretName: {{ $source.secret }}
  {{- else }}
  configMap:
    name: {{ $source.configMap }}
  {{- end }}
    items:
      - key: {{ $source.key }}
        path: ca.crt
{{- end }}
