{{/* What every pod and every container is held to: Kubernetes' standard `restricted`, and a read-only root. */}}
{{- define "lumni.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "lumni.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a pod may run: spread over zones and nodes as far as there are some. (list <root> <service>) */}}
{{- define "lumni.placement" -}}
{{- $root := index . 0 -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "lumni.selector" $ | nindent 8 }}
    # Each version by itself, so that an update ends as evenly spread as it began.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* How a service is asked how it is. (list <root> <service> <what it is>) */}}
{{- define "lumni.probes" -}}
{{- $root := index . 0 -}}{{- $service := index . 1 -}}{{- $is := index . 2 -}}
{{- $alive := dict -}}{{- $ready := dict -}}
{{- if $is.public -}}
{{- $alive = dict "httpGet" (dict "path" "/health/live" "port" "rest") -}}
{{- $ready = dict "httpGet" (dict "path" "/health/ready" "port" "rest") -}}
{{- else if $is.ports.grpc -}}
{{- $port := ternary 50060 (int $is.ports.grpc) (ne (include "lumni.certified" (list $root $service)) "") -}}
{{- $alive = dict "grpc" (dict "port" $port) -}}
{{- $ready = $alive -}}
{{- else -}}
{{- $alive = dict "httpGet" (dict "path" "/metrics" "port" "metrics") -}}
{{- $ready = $alive -}}
{{- end -}}
# The executor imports LiteLLM, which takes seconds, on a busy node many.
startupProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 40
readinessProbe:
  {{- toYaml $ready | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 4
  failureThreshold: 2
# Slow is not dead: what is restarted loses its requests.
livenessProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end -}}
