// Alerts. Those on incidents look at the time of the last one, not at the counter's increase: a process that corrupts
// its heap before its first scrape has a counter that never rises in sight of Prometheus.
{
  local config = $._config,
  local recent(kinds) =
    'time() - hakmem_last_incident_timestamp_seconds{%s,kind=~"%s"} < %d'
    % [config.selector, std.join('|', kinds), config.incidentWindowSeconds],
  local query = '?process={{ $labels.process | urlquery }}&kind={{ $labels.kind }}',

  local incident(name, severity, kinds, summary, meaning) = {
    alert: name,
    expr: recent(kinds),
    labels: { severity: severity },
    annotations: {
      summary: summary,
      description:
        '{{ $labels.process }} at {{ $labels.instance }}: {{ $labels.kind }}, {{ $value | humanizeDuration }} ago. '
        + meaning + ' Who did it: ' + config.exporterUrl + '/incidents/latest' + query,
      incident_url: config.exporterUrl + '/incidents/latest' + query,
      incidents_url: config.exporterUrl + '/' + query,
    },
  },

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'hakmem',
        rules: [
          incident(
            'HakmemHeapCorruption',
            'critical',
            [
              'header_overwritten',
              'header_write_caught',
              'large_header_corrupt',
              'redzone_overwritten',
              'use_after_free_write',
              'guard_page_access',
            ],
            'A process has written to heap memory that is not its own.',
            'Data of the process may be wrong from here on.'
          ),
          incident(
            'HakmemBadFree',
            'warning',
            ['double_free', 'interior_pointer', 'foreign_pointer'],
            'A process has freed what it must not free.',
            'The free was made harmless; with another allocator it corrupts the heap.'
          ),
          incident(
            'HakmemMismatchedDeallocation',
            'info',
            ['alloc_dealloc_mismatch', 'size_mismatch'],
            'A process frees memory by the wrong function or with a wrong size.',
            'It works by luck, and not with every allocator.'
          ),
          {
            alert: 'HakmemIncidentStorm',
            expr: 'process:hakmem_incidents:rate5m{%s} > %g' % [config.selector, config.stormPerSecond],
            'for': '5m',
            labels: { severity: 'critical' },
            annotations: {
              summary: 'A process makes heap errors over and over.',
              description:
                '{{ $labels.process }} at {{ $labels.instance }} makes {{ $value | humanize }} heap errors a second: '
                + config.exporterUrl + '/?process={{ $labels.process | urlquery }}',
            },
          },
          {
            alert: 'HakmemIncidentsDropped',
            expr: 'increase(hakmem_incidents_dropped_total{%s}[15m]) > 0' % config.selector,
            labels: { severity: 'warning' },
            annotations: {
              summary: 'Heap errors were counted but not recorded.',
              description:
                '{{ $labels.process }} at {{ $labels.instance }} has more distinct heap errors than its segment has '
                + 'room for; counts stay exact: '
                + config.exporterUrl + '/?process={{ $labels.process | urlquery }}',
            },
          },
          {
            alert: 'HakmemHeapGrowing',
            expr: |||
              min_over_time(process:hakmem_live_bytes:sum{%(selector)s}[30m]) >
                %(growthFactor)g * max_over_time(process:hakmem_live_bytes:sum{%(selector)s}[30m] offset %(growthWindow)s)
              and process:hakmem_live_bytes:sum{%(selector)s} > %(growthBytes)d
            ||| % config,
            'for': '30m',
            labels: { severity: 'info' },
            annotations: {
              summary: 'The heap of a process grows and grows.',
              description:
                '{{ $labels.process }} at {{ $labels.instance }} has {{ $value | humanize1024 }}B in use, far more than '
                + config.growthWindow + ' ago. At level trace its heap profile tells where they come from: '
                + config.exporterUrl + '/processes',
            },
          },
          {
            alert: 'HakmemMincoreFrequent',
            expr: 'process:hakmem_mincore_calls_per_free:ratio_rate5m{%s} > %g' % [config.selector, config.mincorePerFree],
            'for': '15m',
            labels: { severity: 'info' },
            annotations: {
              summary: 'A process pays for a system call on many of its frees.',
              description:
                '{{ $labels.process }} at {{ $labels.instance }} asks mincore for {{ $value | humanizePercentage }} of its '
                + 'frees: it frees many pointers that another allocator handed out. '
                + config.exporterUrl + '/?process={{ $labels.process | urlquery }}',
            },
          },
          {
            alert: 'HakmemExporterDown',
            expr: 'up{%s} == 0' % config.selector,
            'for': '5m',
            labels: { severity: 'critical' },
            annotations: {
              summary: 'A hakmem exporter does not answer.',
              description:
                'The exporter at {{ $labels.instance }} has not answered for five minutes. Watched processes run on and '
                + 'record; nobody is told: ' + config.exporterUrl + '/',
            },
          },
          {
            alert: 'HakmemSegmentErrors',
            expr: 'increase(hakmem_exporter_segment_errors_total{%s}[15m]) > 0' % config.selector,
            'for': '15m',
            labels: { severity: 'warning' },
            annotations: {
              summary: 'A hakmem exporter cannot read a segment file.',
              description:
                'The exporter at {{ $labels.instance }} fails to read files in its runtime dir: damaged, of another '
                + 'version, or of another user. Its log names them. ' + config.exporterUrl + '/',
            },
          },
          {
            alert: 'HakmemNothingWatched',
            expr: 'hakmem_exporter_segments{%s} == 0' % config.selector,
            'for': '1h',
            labels: { severity: 'info' },
            annotations: {
              summary: 'A hakmem exporter finds no process.',
              description:
                'No process near {{ $labels.instance }} runs under the diagnostic allocator: was the preload lost, or is '
                + 'the runtime dir another one? ' + config.exporterUrl + '/processes',
            },
          },
        ],
      },
    ],
  },
}
