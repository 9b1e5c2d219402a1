// The Grafana dashboard: who has heap errors, then what the heaps do, then whether the exporter is well. Links lead to
// the exporter's page of the process or of the incidents.
{
  local config = $._config,
  local series = config.selector + ',instance=~"$instance",process=~"$process"',
  local exporter = config.selector + ',instance=~"$instance"',
  local datasource = { type: 'prometheus', uid: '$datasource' },

  local target(expr, legend='{{process}}', more={}) =
    { datasource: datasource, expr: expr, legendFormat: legend, range: true } + more,

  local panel(type, title, description, targets, unit='short', defaults={}, options={}) = {
    type: type,
    title: title,
    description: description,
    datasource: datasource,
    targets: [targets[i] { refId: std.char(std.codepoint('A') + i) } for i in std.range(0, std.length(targets) - 1)],
    fieldConfig: { defaults: { unit: unit } + defaults, overrides: [] },
    options: options,
  },

  local graph(title, description, targets, unit='short', stacked=false) = panel(
    'timeseries',
    title,
    description,
    targets,
    unit,
    {
      min: 0,
      custom: { lineWidth: 1, fillOpacity: if stacked then 30 else 0, stacking: { mode: if stacked then 'normal' else 'none' } },
    },
    { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } }
  ),

  local stat(title, description, expr, unit='short', defaults={}) = panel(
    'stat',
    title,
    description,
    [target(expr, '', { instant: true, range: false })],
    unit,
    defaults,
    { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value', graphMode: 'none' }
  ),

  local redFromOne = {
    thresholds: { mode: 'absolute', steps: [{ color: 'green', value: null }, { color: 'red', value: 1 }] },
  },

  local incidentTable = panel(
    'table',
    'Processes with heap errors',
    'Kind and time of the last error of each process. The link opens the newest incident in the exporter.',
    [target(
      'hakmem_last_incident_timestamp_seconds{%s} * 1000' % series,
      '',
      { instant: true, range: false, format: 'table' }
    )],
    'dateTimeFromNow',
    {
      links: [{
        title: 'Open the newest incident',
        url: 'http://${__data.fields.instance}/incidents/latest?process=${__data.fields.process:percentencode}&kind=${__data.fields.kind}',
        targetBlank: true,
      }],
    },
    { sortBy: [{ displayName: 'Value', desc: true }] }
  ) + {
    transformations: [{
      id: 'organize',
      options: { excludeByName: { Time: true, __name__: true, job: true }, renameByName: { Value: 'last' } },
    }],
  },

  // Rows of panels, each with its width in Grafana's grid of 24.
  local rows = [
    { height: 4, panels: [
      [4, stat('Heap errors', 'In the time shown.', 'sum(increase(hakmem_incidents_total{%s}[$__range]))' % series, 'short', redFromOne { decimals: 0 })],
      [4, stat('Since the last error', 'Of any kind, in any process.', 'time() - max(hakmem_last_incident_timestamp_seconds{%s})' % series, 's')],
      [4, stat('Processes watched', 'At any level.', 'sum(hakmem_processes{%s})' % series)],
      [4, stat('Live bytes', 'In use in all heaps.', 'sum(hakmem_live_bytes{%s})' % series, 'bytes')],
      [4, stat('Allocations', 'A second.', 'sum(process:hakmem_allocations:rate5m{%s})' % series, 'ops')],
      [4, stat('Version', 'Of the exporter.', 'max by (version) (hakmem_build_info{%s})' % exporter) + { options+: { textMode: 'name' }, targets: [super.targets[0] { legendFormat: '{{version}}' }] }],
    ] },
    { height: 8, panels: [
      [12, incidentTable],
      [12, graph('Heap errors a second', 'By process and kind.', [target('sum by (process, kind) (rate(hakmem_incidents_total{%s}[$__rate_interval]) > 0)' % series, '{{process}} {{kind}}')], 'ops', true)],
    ] },
    { height: 8, panels: [
      [8, graph('Live bytes', 'Bytes of slots in use.', [target('sum by (process) (hakmem_live_bytes{%s})' % series)], 'bytes')],
      [8, graph('Mapped and cached', 'Address space from the system, and what of it is cut for blocks and unused.', [
        target('sum(hakmem_mapped_bytes{%s})' % series, 'mapped'),
        target('sum(hakmem_cached_bytes{%s})' % series, 'cached'),
        target('sum(hakmem_quarantine_bytes{%s})' % series, 'quarantine'),
      ], 'bytes')],
      [8, graph('Live blocks by size', 'Slot bytes.', [target('sum by (size_class) (hakmem_live_blocks{%s})' % series, '{{size_class}}')], 'short', true)],
    ] },
    { height: 8, panels: [
      [8, graph('Allocations a second', '', [target('sum by (process) (rate(hakmem_allocations_total{%s}[$__rate_interval]))' % series)], 'ops')],
      [8, graph('Bytes a second', 'Allocated and freed.', [
        target('sum(rate(hakmem_allocated_bytes_total{%s}[$__rate_interval]))' % series, 'allocated'),
        target('sum(rate(hakmem_freed_bytes_total{%s}[$__rate_interval]))' % series, 'freed'),
      ], 'Bps')],
      [8, graph('Frees by path', 'What answered a free: the one-byte header, the 16-byte header, the slow path.', [target('sum by (path) (rate(hakmem_free_path_total{%s}[$__rate_interval]))' % series, '{{path}}')], 'ops', true)],
    ] },
    { height: 8, panels: [
      [8, graph('Slow path by reason', 'Entries a second.', [target('sum by (reason) (rate(hakmem_slow_path_total{%s}[$__rate_interval]))' % series, '{{reason}}')], 'ops', true)],
      [8, graph('Invalid headers', 'Frees whose header was not valid, a second.', [target('sum by (outcome) (rate(hakmem_header_invalid_total{%s}[$__rate_interval]))' % series, '{{outcome}}')], 'ops', true)],
      [8, graph('mincore calls', 'A second: near zero in a healthy program.', [target('sum by (process, result) (rate(hakmem_mincore_calls_total{%s}[$__rate_interval]))' % series, '{{process}} {{result}}')], 'ops')],
    ] },
    { height: 8, panels: [
      [8, graph('Headers audited', 'A second.', [target('sum by (process) (rate(hakmem_headers_audited_total{%s}[$__rate_interval]))' % series)], 'ops')],
      [8, graph('Stacks captured', 'A second, by cause.', [target('sum by (cause) (rate(hakmem_backtraces_total{%s}[$__rate_interval]))' % series, '{{cause}}')], 'ops', true)],
      [8, graph('Scrapes', 'Seconds that reading all segments took.', [target('hakmem_exporter_scrape_duration_seconds{%s}' % exporter, '{{instance}}')], 's')],
    ] },
    { height: 6, panels: [
      [8, graph('Segments', 'Files read; one a process.', [target('hakmem_exporter_segments{%s}' % exporter, '{{instance}}')])],
      [8, graph('Segment errors', 'Reads that failed, a second.', [target('rate(hakmem_exporter_segment_errors_total{%s}[$__rate_interval])' % exporter, '{{instance}}')], 'ops')],
      [8, graph('Processes by level', '', [target('sum by (level) (hakmem_processes{%s})' % series, '{{level}}')], 'short', true)],
    ] },
  ],

  local placed(row, y) = std.foldl(
    function(state, entry) {
      x: state.x + entry[0],
      panels: state.panels + [entry[1] { gridPos: { x: state.x, y: y, w: entry[0], h: row.height } }],
    },
    row.panels,
    { x: 0, panels: [] }
  ).panels,

  local allPanels = std.foldl(
    function(state, row) { y: state.y + row.height, panels: state.panels + placed(row, state.y) },
    rows,
    { y: 0, panels: [] }
  ).panels,

  local variable(name, metric) = {
    type: 'query',
    name: name,
    label: name,
    datasource: datasource,
    query: { query: 'label_values(%s, %s)' % [metric, name], refId: name },
    definition: self.query.query,
    refresh: 2,
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
    sort: 1,
  },

  grafanaDashboards+:: {
    'hakmem.json': {
      uid: config.dashboardUid,
      title: 'hakmem',
      description: 'Heap errors and heap use of the processes that hakmem watches.',
      tags: config.dashboardTags,
      schemaVersion: 36,
      editable: true,
      refresh: '30s',
      time: { from: 'now-6h', to: 'now' },
      timezone: 'browser',
      templating: {
        list: [
          { type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus', current: {} },
          variable('instance', 'hakmem_build_info{%s}' % config.selector),
          variable('process', 'hakmem_processes{%s,instance=~"$instance"}' % config.selector),
        ],
      },
      panels: [allPanels[i] { id: i + 1 } for i in std.range(0, std.length(allPanels) - 1)],
    },
  },
}
