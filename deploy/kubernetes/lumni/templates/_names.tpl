{{/* What things are called. A call gets (list <root> <service>). */}}

{{- define "lumni.name" -}}
{{- $release := (index . 0).Release.Name -}}
{{- if contains "lumni" $release -}}{{ $release }}{{- else -}}{{ $release }}-lumni{{- end -}}-{{ index . 1 }}
{{- end -}}

{{/* What a Service and a policy select by; it never changes. */}}
{{- define "lumni.selector" -}}
app.kubernetes.io/name: lumni
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "lumni.labels" -}}
{{ include "lumni.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end -}}

{{- define "lumni.metadata" -}}
name: {{ include "lumni.name" . }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "lumni.labels" . | nindent 2 }}
{{- end -}}

{{/* The name that other pods reach a service by, in full: certificates are made for it. */}}
{{- define "lumni.host" -}}
{{ include "lumni.name" . }}.{{ (index . 0).Release.Namespace }}.svc.{{ (index . 0).Values.clusterDomain }}
{{- end -}}

{{- define "lumni.image" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}
{{- $digest := index $root.Values.image.digests $name -}}
{{ $root.Values.image.prefix }}lumni-{{ $name }}{{ if $digest }}@{{ $digest }}{{ else }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end -}}

{{- define "lumni.configuration" -}}
{{ .Values.configuration.existing | default (include "lumni.name" (list . "configuration")) }}
{{- end -}}
