{{- define "lockgate.labels" -}}
app.kubernetes.io/name: lockgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: agent
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lockgate.selector" -}}
app.kubernetes.io/name: lockgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lockgate.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The agent's settings file: what is given, and what the chart itself decides. */ -}}
{{- define "lockgate.settings" -}}
{{- $cluster := merge (dict "in_cluster" true) (.Values.settings.cluster | default dict) -}}
{{- $own := dict "listen" .Values.listen "cluster" $cluster -}}
{{- toYaml (merge $own .Values.settings) -}}
{{- end }}

{{- /* Other settings are another object: an agent that is begun anew in the middle of an upgrade has
       still those that it was made with. */ -}}
{{- define "lockgate.settingsName" -}}
{{ .Release.Name }}-{{ include "lockgate.settings" . | sha256sum | trunc 8 }}
{{- end }}
