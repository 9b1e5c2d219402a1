// Recording rules: sums over a process's series, so that graphs and ratios over days stay cheap. A name says what a
// series is of, what it is made from, and by which operation.
{
  local selector = $._config.selector,
  local by = 'by (job, instance, process)',
  local rate(metric) = 'sum %s (rate(%s{%s}[5m]))' % [by, metric, selector],

  prometheusRules+:: {
    groups+: [
      {
        name: 'hakmem.rules',
        rules: [
          { record: 'process:hakmem_allocations:rate5m', expr: rate('hakmem_allocations_total') },
          { record: 'process:hakmem_frees:rate5m', expr: rate('hakmem_frees_total') },
          { record: 'process:hakmem_allocated_bytes:rate5m', expr: rate('hakmem_allocated_bytes_total') },
          { record: 'process:hakmem_slow_path:rate5m', expr: rate('hakmem_slow_path_total') },
          { record: 'process:hakmem_incidents:rate5m', expr: rate('hakmem_incidents_total') },
          {
            record: 'process:hakmem_mincore_calls_per_free:ratio_rate5m',
            expr: '%s / (process:hakmem_frees:rate5m > 0)' % rate('hakmem_mincore_calls_total'),
          },
          {
            record: 'process:hakmem_live_bytes:sum',
            expr: 'sum %s (hakmem_live_bytes{%s})' % [by, selector],
          },
        ],
      },
    ],
  },
}
