{{/* The environment of a service: what it is told, and the secrets that it alone reads. (list <root> <service> <what it is>) */}}
{{- define "lumni.environment" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}{{- $is := index . 2 -}}
{{- $secrets := $root.Values.secrets -}}
{{- $plain := dict "LUMNI_METRICS_LISTEN" (printf "0.0.0.0:%v" $is.ports.metrics) -}}
{{- if $is.ports.grpc -}}
{{- $_ := set $plain "LUMNI_LISTEN" (printf "0.0.0.0:%v" $is.ports.grpc) -}}
{{- $_ := set $plain "LUMNI_REQUEST_TIMEOUT_S" (toString $root.Values.requestTimeoutSeconds) -}}
{{- end -}}
{{- if $is.public -}}
{{- $_ := set $plain "LUMNI_REST_LISTEN" (printf "0.0.0.0:%v" $is.ports.rest) -}}
{{- $_ := set $plain "LUMNI_DRAIN_DELAY_S" (toString $root.Values.drainDelaySeconds) -}}
{{- $_ := set $plain "LUMNI_MAX_CONNECTIONS_PER_ADDRESS" "0" -}}
{{- with $root.Values.gateway.trustedProxies -}}{{- $_ := set $plain "FORWARDED_ALLOW_IPS" (join "," .) -}}{{- end -}}
{{- end -}}
{{- range $is.calls -}}
{{- $other := index (include "lumni.services" $root | fromYaml) . -}}
{{- $_ := set $plain (printf "LUMNI_%s" (upper .)) (printf "dns:///%s:%v" (include "lumni.host" (list $root .)) $other.ports.grpc) -}}
{{- end -}}
{{- if include "lumni.certified" (list $root $service) -}}
{{- $_ := set $plain "LUMNI_TLS_CERT" "/tls/tls.crt" -}}
{{- $_ := set $plain "LUMNI_TLS_KEY" "/tls/tls.key" -}}
{{- $_ := set $plain "LUMNI_TLS_CA" "/tls/ca.crt" -}}
{{- if not $is.public -}}{{- $_ := set $plain "LUMNI_HEALTH_LISTEN" "0.0.0.0:50060" -}}{{- end -}}
{{- end -}}
{{- if $root.Values.collector.enabled -}}
{{- $_ := set $plain "OTEL_EXPORTER_OTLP_ENDPOINT" (printf "http://%s:4318" (include "lumni.host" (list $root "collector"))) -}}
{{- end -}}
env:
  {{- range $name, $value := mergeOverwrite $plain $root.Values.settings (index $root.Values $service).settings }}
  - name: {{ $name }}
    value: {{ $value | toString | quote }}
  {{- end }}
  {{- if $is.ports.grpc }}
  {{- include "lumni.secret" (list "LUMNI_SERVICE_TOKEN" $secrets.service "LUMNI_SERVICE_TOKEN") | nindent 2 }}
  {{- end }}
  {{- if $is.database }}
  {{- include "lumni.secret" (list "DATABASE_URL" (ternary (default $secrets.database $secrets.gatewayDatabase) $secrets.database (default false $is.public)) "DATABASE_URL") | nindent 2 }}
  {{- end }}
  {{- if $is.valkey }}
  {{- include "lumni.secret" (list "REDIS_URL" $secrets.redis (ternary "gateway" $service (eq $service "together"))) | nindent 2 }}
  {{- end }}
  {{- if eq $service "together" }}
  {{- include "lumni.secret" (list "LUMNI_SELECTOR_REDIS_URL" $secrets.redis "selector") | nindent 2 }}
  {{- include "lumni.secret" (list "LUMNI_EXECUTOR_REDIS_URL" $secrets.redis "executor") | nindent 2 }}
  {{- end }}
{{- $whole := list -}}
{{- if $is.public -}}{{- $whole = append $whole $secrets.gateway -}}{{- end -}}
{{- if $is.providers -}}{{- $whole = append $whole $secrets.providers -}}{{- end -}}
{{- if and (eq $service "ledger") $secrets.ledger -}}{{- $whole = append $whole $secrets.ledger -}}{{- end -}}
{{- with $whole }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A variable from a key of a Secret: (list <variable> <secret> <key>) */}}
{{- define "lumni.secret" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end -}}
