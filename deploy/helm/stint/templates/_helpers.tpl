{{- define "stint.image" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "stint.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "stint.labels" -}}
{{ include "stint.selector" . }}
app.kubernetes.io/part-of: stint
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "stint.scraped" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "8888"
prometheus.io/path: /metrics
{{- end }}

{{- /* The configuration of the agent: what the chart says, and over it agent.config. */}}
{{- define "stint.agentConfig" -}}
{{- $tls := dict "insecure" true }}
{{- if ne .Values.tls.mode "off" }}
{{- $tls = dict "ca_file" "/etc/stint-tls/ca.crt" }}
{{- if .Values.tls.clientCertificates }}
{{- $_ := set $tls "cert_file" "/etc/stint-tls/tls.crt" }}
{{- $_ := set $tls "key_file" "/etc/stint-tls/tls.key" }}
{{- end }}
{{- end }}
{{- $own := dict
  "admin" (dict "listen" ":8888")
  "health" (dict "listen" ":13133")
  "tail" (dict "files" list)
  "journald" (dict "enabled" "false")
  "scrape" (ternary (dict "root_path" "/host") (dict "host" (dict "enabled" false) "cgroup" (dict "enabled" "false")) .Values.agent.host)
}}
{{- with .Values.agent.podLabels }}{{ $_ := set $own.tail "containers" (dict "labels" .) }}{{ end }}
{{- if and .Values.agent.host (not .Values.agent.rootfs) }}{{/* none of the node's is seen below /host */}}
{{- $_ := set $own.scrape "host" (dict "filesystem" (dict "enabled" false)) }}
{{- end }}
{{- if not (hasKey .Values.agent.config "exporters") }}
{{- if not .Values.cluster.enabled }}{{ fail "cluster.enabled is false: say in agent.config.exporters where agents send" }}{{ end }}
{{- $_ := set $own "exporters" (dict "otlp" (dict "endpoint" (printf "stint-cluster-headless.%s.svc:4317" .Release.Namespace) "compression" "zstd" "tls" $tls)) }}
{{- end }}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.agent.config)) }}
{{- end }}

{{- /* The configuration of the cluster tier: what the chart says, and over it cluster.config. */}}
{{- define "stint.clusterConfig" -}}
{{- $own := dict
  "admin" (dict "listen" ":8888")
  "health" (dict "listen" ":13133")
  "gateway" (dict "grpc" ":4317" "http" ":4318")
  "state" (dict "enabled" .Values.cluster.state)
  "events" (dict "enabled" .Values.cluster.events)
}}
{{- with .Values.cluster.namespaces }}
{{- $_ := set $own.state "namespaces" . }}
{{- $_ := set $own.events "namespaces" . }}
{{- end }}
{{- if ne .Values.tls.mode "off" }}
{{- $_ := set $own.gateway "tls" (dict "cert_file" "/etc/stint-tls/tls.crt" "key_file" "/etc/stint-tls/tls.key") }}
{{- if .Values.tls.clientCertificates }}
{{- $_ := set $own.gateway.tls "client_ca_file" "/etc/stint-tls/ca.crt" }}
{{- end }}
{{- end }}
{{- if .Values.cluster.enrich }}
{{- $_ := set $own.gateway "enrich" (dict "enabled" true) }}
{{- end }}
{{- with .Values.exporters }}{{ $_ := set $own "exporters" (deepCopy .) }}{{ end }}
{{- with .Values.pipelines }}{{ $_ := set $own "pipelines" (deepCopy .) }}{{ end }}
{{- $objects := list }}
{{- range .Values.cluster.objects }}
{{- $one := deepCopy . }}
{{- if and $.Values.cluster.namespaces (not .namespaces) }}{{ $_ := set $one "namespaces" $.Values.cluster.namespaces }}{{ end }}
{{- $objects = append $objects $one }}
{{- end }}
{{- with $objects }}{{ $_ := set $own "objects" (dict "resources" .) }}{{ end }}
{{- $all := mergeOverwrite $own (deepCopy .Values.cluster.config) }}
{{- /* The volume's size less a tenth, in equal parts: a pod that outgrows an emptyDir is evicted. */}}
{{- if not (dig "spool" "max_bytes" 0 $all) }}
{{- $size := .Values.cluster.spool.size }}
{{- $mib := mul (trimSuffix "Mi" (trimSuffix "Gi" $size) | int64) (ternary 1024 1 (hasSuffix "Gi" $size)) }}
{{- $spool := dict "max_bytes" (div (mul $mib 943718) (max 1 (len ($all.exporters | default dict)))) }}
{{- $_ := set $all "spool" (merge $spool ($all.spool | default dict)) }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- /* A role of stint-cluster and its binding: for the whole cluster, or one in each of some namespaces. */}}
{{- define "stint.role" -}}
{{- $root := .root }}
{{- $name := printf "stint-cluster-%s" .feature }}
{{- $rules := .rules }}
{{- range $i, $ns := .namespaces | default (list "") }}
{{- $kind := ternary "Role" "ClusterRole" (ne $ns "") }}
{{- if $i }}
---
{{- end }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with $ns }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "stint.labels" (dict "root" $root "name" "stint-cluster") | nindent 4 }}
rules:
  {{- range $rules }}
  - apiGroups: {{ toJson .apiGroups }}
    resources: {{ toJson .resources }}
    {{- with .resourceNames }}
    resourceNames: {{ toJson . }}
    {{- end }}
    verbs: {{ toJson .verbs }}
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with $ns }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "stint.labels" (dict "root" $root "name" "stint-cluster") | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: stint-cluster
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}
