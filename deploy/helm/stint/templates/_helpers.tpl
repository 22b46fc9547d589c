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
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
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
{{- $tls = dict "ca_file" "/etc/stint-tls/ca.crt" "cert_file" "/etc/stint-tls/tls.crt" "key_file" "/etc/stint-tls/tls.key" }}
{{- end }}
{{- $own := dict
  "admin" (dict "listen" ":8888")
  "health" (dict "listen" ":13133")
  "tail" (dict "files" list "containers" (dict "labels" .Values.agent.podLabels))
  "journald" (dict "enabled" "false")
  "scrape" (dict "root_path" "/host")
}}
{{- if not (hasKey .Values.agent.config "exporters") }}
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
}}
{{- if ne .Values.tls.mode "off" }}
{{- $_ := set $own.gateway "tls" (dict "cert_file" "/etc/stint-tls/tls.crt" "key_file" "/etc/stint-tls/tls.key" "client_ca_file" "/etc/stint-tls/ca.crt") }}
{{- end }}
{{- if .Values.cluster.enrich }}
{{- $_ := set $own.gateway "enrich" (dict "enabled" true) }}
{{- end }}
{{- with .Values.exporters }}{{ $_ := set $own "exporters" . }}{{ end }}
{{- with .Values.pipelines }}{{ $_ := set $own "pipelines" . }}{{ end }}
{{- with .Values.cluster.objects }}{{ $_ := set $own "objects" (dict "resources" .) }}{{ end }}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.cluster.config)) }}
{{- end }}
