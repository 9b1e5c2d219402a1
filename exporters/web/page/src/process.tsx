// One process: how it allocates now and did in the last ten minutes, what its frees went by, its incidents.
import { useEffect } from 'preact/hooks'
import { type Answer, useApi, useNow } from './api'
import { Chart } from './chart'
import { bytes, count, duration, exact } from './format'
import { GroupRows } from './groups'
import { loadHistory, rates, useLive } from './live'
import { Command, Failure, Heading, Level, Nothing, Panel } from './parts'
import { withQuery } from './router'
import type { Groups, LiveProcess, Process } from './types'

const words: Record<string, string> = {
    header1: 'one-byte header (fast path)',
    header16: '16-byte header (large, aligned)',
    slow: 'slow path',
    recovered: 'repaired and freed',
    foreign: 'another allocator’s, passed on',
    rejected: 'bad free, refused',
    page_boundary: 'address at a page boundary',
    header_invalid: 'invalid header',
    cache_empty: 'cache empty (refill)',
    cache_full: 'cache full (flush)',
    large: 'large block',
    mapped: 'mapped',
    unmapped: 'unmapped',
    error: 'error',
}

function Counts({ title, counts }: { title: string; counts: Record<string, number> }) {
    const total = Object.values(counts).reduce((sum, value) => sum + value, 0)
    return (
        <div class="counts">
            <h3>{title}</h3>
            <dl>
                {Object.entries(counts).map(([name, value]) => (
                    <div key={name}>
                        <dt>{words[name] ?? name}</dt>
                        <dd title={exact(value)}>{count(value)}</dd>
                        <meter min={0} max={Math.max(total, 1)} value={value} aria-hidden="true" />
                    </div>
                ))}
            </dl>
        </div>
    )
}

function SizeClasses({ process }: { process: Process }) {
    const rows = Object.entries(process.counters.size_classes)
    const most = Math.max(1, ...rows.map(([, row]) => row.live_blocks))
    const name = (size: string) => (size === 'large' ? 'large' : `${exact(Number(size))} B`)
    if (rows.length === 0) return <Nothing title="Nothing allocated yet." />
    return (
        <table class="classes">
            <thead>
                <tr>
                    <th scope="col">Slot</th>
                    <th scope="col" class="bars">
                        Live blocks
                    </th>
                    <th scope="col" class="number">
                        Live
                    </th>
                    <th scope="col" class="number">
                        Allocated
                    </th>
                    <th scope="col" class="number">
                        Freed
                    </th>
                </tr>
            </thead>
            <tbody>
                {rows.map(([size, row]) => (
                    <tr key={size}>
                        <th scope="row">{name(size)}</th>
                        <td class="bars">
                            <meter min={0} max={most} value={row.live_blocks} aria-hidden="true" />
                        </td>
                        <td class="number">{exact(row.live_blocks)}</td>
                        <td class="number">{count(row.allocations)}</td>
                        <td class="number">{count(row.frees)}</td>
                    </tr>
                ))}
            </tbody>
        </table>
    )
}

function Charts({ live, now }: { live: LiveProcess; now: number }) {
    const times = live.points.map((point) => point[0] / 1000)
    const end = (live.alive ? now : (live.points[live.points.length - 1]?.[0] ?? now)) / 1000
    const window = { begin: Math.max(end - 600, Math.min(times[0] ?? end, end - 60)), end }
    return (
        <div class="charts">
            <Panel title="Allocations and frees a second">
                <Chart
                    label="Allocations and frees a second"
                    times={times}
                    lines={[
                        { label: 'allocations', colour: '--line-1', fill: true },
                        { label: 'frees', colour: '--line-2' },
                    ]}
                    values={[rates(live.points, 1), rates(live.points, 2)]}
                    format={count}
                    window={window}
                />
            </Panel>
            <Panel title="Live and mapped bytes">
                <Chart
                    label="Live and mapped bytes"
                    times={times}
                    lines={[
                        { label: 'live', colour: '--line-1', fill: true },
                        { label: 'mapped', colour: '--line-3' },
                    ]}
                    values={[live.points.map((point) => point[3]), live.points.map((point) => point[4])]}
                    format={bytes}
                    binary
                    window={window}
                />
            </Panel>
        </div>
    )
}

function Incidents({ process, groups }: { process: string; groups: Answer<Groups> }) {
    return (
        <Panel title="Incidents" aside={<span class="aside">of all processes of this name</span>}>
            {groups.data?.all_groups === 0 && <Nothing title={`No incident of ${process} has been recorded.`} />}
            <Failure error={groups.error} />
            {groups.data !== undefined && groups.data.all_groups > 0 && <GroupRows groups={groups.data.groups} />}
            {(groups.data?.all_groups ?? 0) > 20 && (
                <p class="more-rows">
                    <a href={withQuery('/', { process })}>All incidents of {process}</a>
                </p>
            )}
        </Panel>
    )
}

export function ProcessView({ pid }: { pid: number }) {
    const live = useLive()
    const now = useNow(1000)
    const { data, error } = useApi<Process[]>('/api/v1/processes', 3000)
    const name = data?.find((candidate) => candidate.pid === pid)?.process
    const groups = useApi<Groups>(name === undefined ? null : withQuery('/api/v1/groups', { process: name, limit: '20' }), 3000)
    const clean = groups.data?.all_groups === 0
    const candidates = live.processes.filter((process) => process.pid === pid)
    const mine = candidates.find((process) => process.alive) ?? candidates[candidates.length - 1]
    const all = data?.filter((process) => process.pid === pid) ?? []
    const process = all.find((candidate) => candidate.alive) ?? all[all.length - 1]
    useEffect(() => {
        if (live.loaded) void loadHistory(pid)
    }, [live.loaded, pid])
    if (process === undefined || mine === undefined)
        return (
            <>
                <Heading>Process {pid}</Heading>
                <Failure error={error} />
                {data !== undefined && live.loaded && (
                    <Nothing title="No process of that pid is watched.">
                        <p>
                            If it has ended, its incidents are still <a href="/">in the store</a>.
                        </p>
                    </Nothing>
                )}
            </>
        )
    const end = process.end_time ? Date.parse(process.end_time) : now
    const { counters } = process
    const traced = process.level === 'trace' || process.level === 'guard'
    return (
        <>
            <p class="crumbs">
                <a href="/processes">Processes</a>
                <span>{pid}</span>
            </p>
            <div class="title-row">
                <Heading>{process.process || 'unknown'}</Heading>
                <span class="actions">
                    <a class="button" href={`/processes/${pid}/heap`}>
                        Heap profile
                    </a>
                </span>
            </div>
            <p class="story">
                {process.alive ? <Level level={process.level} /> : <span class="level level-ended">ended</span>} <span class="mono">{process.exe}</span>, pid {pid}, {process.alive ? 'running for' : 'ran for'}{' '}
                {duration((end - Date.parse(process.start_time)) / 1000)}, {exact(process.threads)} {process.threads === 1 ? 'thread' : 'threads'}
            </p>
            <Charts live={mine} now={live.now} />
            {!clean && <Incidents process={process.process} groups={groups} />}
            <div class="pair">
                <Panel title="Size classes">
                    <SizeClasses process={process} />
                </Panel>
                <div class="column">
                    <Panel title="How frees were answered">
                        <div class="counts-grid">
                            <Counts title="Free path" counts={counters.free_path} />
                            <Counts title="Slow path, by reason" counts={counters.slow_path} />
                            <Counts title="Invalid headers" counts={counters.header_invalid} />
                            <Counts title="mincore calls" counts={counters.mincore_calls} />
                        </div>
                    </Panel>
                    {clean && <Incidents process={process.process} groups={groups} />}
                </div>
            </div>
            {process.alive && !traced && (
                <p class="hint">
                    To see where blocks are allocated, turn tracing up while it runs: <Command text={`hakmem set ${pid} level=trace`} />
                </p>
            )}
        </>
    )
}
