// What an installation may want to change. Override it by `(import 'mixin.libsonnet') { _config+:: { ... } }`.
{
  _config+:: {
    // Which series are a hakmem exporter's.
    selector: 'job="hakmem"',

    // Where people reach the exporter that a series came from. Behind a proxy or with TLS: another pattern.
    exporterUrl: 'http://{{ $labels.instance }}',

    // Alerts on incidents resolve when there was none for that long.
    incidentWindowSeconds: 15 * 60,

    // Incidents a second that are a storm: the same bug over and over.
    stormPerSecond: 1,

    // A heap that only grows: by that factor over `growthWindow`, and at least that large.
    growthFactor: 1.5,
    growthWindow: '6h',
    growthBytes: 256 * 1024 * 1024,

    // mincore calls for a free; a healthy program is far below.
    mincorePerFree: 0.01,

    dashboardUid: 'hakmem',
    dashboardTags: ['hakmem'],
  },
}
