// The hakmem monitoring mixin: recording rules, alerts and a Grafana dashboard for what `hakmem exporter` serves.
(import 'config.libsonnet') +
(import 'rules.libsonnet') +
(import 'alerts.libsonnet') +
(import 'dashboard.libsonnet')
