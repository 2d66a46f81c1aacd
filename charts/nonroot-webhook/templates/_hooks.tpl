{{- /* The parts that hooks of both webhook configurations are made of. */}}

{{- /* No caBundle, unless it is yours: the controller writes it by a JSON patch, and whatever applies this chart again
       (Helm, Argo CD, Flux) owns every field but that one. Until it is there, no hook can be
       called: all fail open but enforce.nonroot.dev, which looks only at namespaces that somebody has labelled. */}}
{{- /* Called with the context, the path and the hook's own values, as what follows. */}}
{{- define "nonroot.clientConfig" -}}
{{- $context := index . 0 -}}
{{- $hook := index . 2 -}}
clientConfig:
  {{- if $context.Values.webhook.url }}
  {{- if eq $context.Values.certificates.mode "controller" }}
  {{- fail "webhook.url needs a certificate for its host: set certificates.mode to certManager or existing; the controller makes one for the Service only" }}
  {{- end }}
  url: {{ printf "%s%s" (trimSuffix "/" $context.Values.webhook.url) (index . 1) }}
  {{- else }}
  service:
    name: {{ include "nonroot.fullname" $context }}
    namespace: {{ include "nonroot.namespace" $context }}
    port: {{ $context.Values.service.port }}
    path: {{ index . 1 }}
  {{- end }}
  {{- if and (eq $context.Values.certificates.mode "existing") $context.Values.certificates.caBundle }}
  caBundle: {{ $context.Values.certificates.caBundle | b64enc }}
  {{- end }}
admissionReviewVersions:
  - v1
sideEffects: NoneOnDryRun
matchPolicy: Equivalent
timeoutSeconds: {{ $hook.timeoutSeconds | default $context.Values.webhook.timeoutSeconds }}
failurePolicy: {{ $hook.failurePolicy }}
{{- end }}

{{- /* A selector of `webhook`, for every hook, and one of the hook's own: both must match. */}}
{{- define "nonroot.selector" -}}
{{- $all := index . 0 -}}
{{- $own := index . 1 -}}
{{- with merge (dict) ($own.matchLabels | default dict) ($all.matchLabels | default dict) }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (index . 2) ($all.matchExpressions | default list) ($own.matchExpressions | default list) }}
matchExpressions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Called with the context, the hook's own values, and what the hook itself asks of a namespace's labels. The name
       label cannot be changed or left out, so nobody escapes by editing labels, and the own namespace, kube-system and
       kube-node-lease cannot be blocked. */}}
{{- define "nonroot.selectors" -}}
{{- $webhook := (index . 0).Values.webhook -}}
{{- $hook := index . 1 -}}
{{- $excluded := concat (list (include "nonroot.namespace" (index . 0)) "kube-system" "kube-node-lease") $webhook.excludeNamespaces | uniq -}}
{{- $names := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" $excluded -}}
namespaceSelector:
  {{- include "nonroot.selector" (list $webhook.namespaceSelector $hook.namespaceSelector (prepend (index . 2) $names)) | trim | nindent 2 }}
{{- with include "nonroot.selector" (list $webhook.objectSelector $hook.objectSelector list) | trim }}
objectSelector:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* matchConditions for every hook, and those of the hook's own values; selectors know no prefixes. */}}
{{- define "nonroot.commonConditions" -}}
{{- $webhook := (index . 0).Values.webhook -}}
{{- with $webhook.managedNamespaces }}
{{- with .prefixes }}
- name: not-managed-by-prefix
  expression: "!{{ include "nonroot.celList" . }}.exists(prefix, request.namespace.startsWith(prefix))"
{{- end }}
{{- with .names }}
- name: not-managed-by-name
  expression: "!(request.namespace in {{ include "nonroot.celList" . }})"
{{- end }}
{{- end }}
{{- with concat $webhook.matchConditions (index . 1).matchConditions }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A list of names as CEL writes it. The schema lets only letters, digits, dashes and dots in. */}}
{{- define "nonroot.celList" -}}
[{{ range $position, $name := . }}{{ if $position }}, {{ end }}'{{ $name }}'{{ end }}]
{{- end }}

{{- define "nonroot.celContainers" -}}
(object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([]))
{{- end }}

{{- define "nonroot.celNumericUser" -}}
c.?securityContext.?runAsUser.orValue(object.spec.?securityContext.?runAsUser.orValue(0)) > 0
{{- end }}

{{- /* What both hooks that evaluate Pods share, called with the context and the hook's own values. Neither expression can fail on a Pod that the API server would store: under
       failurePolicy Fail an error in a condition would refuse the request. */}}
{{- define "nonroot.podsEvaluated" -}}
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [pods]
    scope: Namespaced
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [UPDATE]
    resources: [pods/ephemeralcontainers]
    scope: Namespaced
matchConditions:
  {{- include "nonroot.commonConditions" . | trim | nindent 2 }}
  # Of all updates of a Pod only a new image or a new ephemeral container changes who it is. Without a subresource the
  # request has no such field at all.
  - name: images-changed
    expression: >-
      request.operation != 'UPDATE' || request.?subResource.orValue('') == 'ephemeralcontainers' ||
      (object.spec.containers + object.spec.?initContainers.orValue([])).map(c, c.image) !=
      (oldObject.spec.containers + oldObject.spec.?initContainers.orValue([])).map(c, c.image)
  # A number above 0 for every container, and no explicit runAsNonRoot: false: there is nothing left to refuse. On Windows
  # a number means nothing, and a Pod gets there by its spec.os, its node selector or its node affinity.
  - name: identity-not-stated
    expression: >-
      object.spec.?os.?name.orValue('linux') == 'windows' ||
      object.spec.?nodeSelector[?'kubernetes.io/os'].orValue('linux') == 'windows' ||
      object.spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms.orValue([])
      .exists(t, t.?matchExpressions.orValue([]).exists(e, e.key == 'kubernetes.io/os' &&
      e.?values.orValue([]).exists(v, v == 'windows'))) ||
      !{{ include "nonroot.celContainers" . }}.all(c,
      {{ include "nonroot.celNumericUser" . }} &&
      c.?securityContext.?runAsNonRoot.orValue(object.spec.?securityContext.?runAsNonRoot.orValue(true)))
{{- end }}

{{- /* With cert-manager its CA injector writes the caBundle. */}}
{{- define "nonroot.configurationAnnotations" -}}
{{- $annotations := deepCopy .Values.webhook.annotations -}}
{{- if eq .Values.certificates.mode "certManager" -}}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/%s" (include "nonroot.namespace" .) (include "nonroot.tlsSecret" .)) -}}
{{- end -}}
{{- toYaml $annotations -}}
{{- end }}
