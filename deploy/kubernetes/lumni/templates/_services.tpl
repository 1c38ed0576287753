{{/*
What each service is, as YAML: its image, its ports, what it reads (configuration, database, provider keys, a user of
Valkey, certificates), where it keeps state, and whom it calls. Policies, pods and Services follow from it.
*/}}
{{- define "lumni.services" -}}
{{- $apart := eq .Values.arrangement "apart" -}}
{{- if $apart }}
gateway:
  image: gateway
  public: true
  ports: {rest: 8080, grpc: 50050, metrics: 9100}
  configured: true
  database: true
  valkey: true
  calls: [classifier, selector, executor]
classifier:
  image: classifier
  ports: {grpc: 50051, metrics: 9101}
selector:
  image: selector
  ports: {grpc: 50052, metrics: 9102}
  configured: true
  valkey: true
executor:
  image: executor
  ports: {grpc: 50053, metrics: 9103}
  configured: true
  valkey: true
  providers: true
{{- else }}
together:
  image: together
  public: true
  ports: {rest: 8080, grpc: 50050, metrics: 9100}
  configured: true
  database: true
  valkey: true
  providers: true
{{- end }}
ledger:
  image: gateway
  command: [python, -m, services.gateway.ledger]
  ports: {metrics: 9104}
  configured: true
  database: true
  valkey: true
{{- end -}}

{{/* The service that callers reach. */}}
{{- define "lumni.front" -}}
{{ if eq .Values.arrangement "apart" }}gateway{{ else }}together{{ end }}
{{- end -}}

{{/* Whether a service shows a certificate: those that gRPC joins. */}}
{{- define "lumni.certified" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}
{{- if and $root.Values.mutualTls.enabled (has $service (list "gateway" "classifier" "selector" "executor")) }}yes{{ end -}}
{{- end -}}
