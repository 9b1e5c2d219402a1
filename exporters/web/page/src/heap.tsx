// The heap profile of one process: who holds the memory, and what changed between two moments.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { type ApiError, useApi } from './api'
import { Flame, frameName } from './flame'
import { type Measure, type Moment, momentOf, siteRows, type Stacks, tree } from './flametree'
import { bytes, count, duration, exact, fileName, timeOfDay } from './format'
import { Choices, Command, Failure, Heading, Nothing, Panel } from './parts'
import type { Heap } from './types'

const every = 5000 // ms
const mostMoments = 240
const mostRows = 30

const measureChoices: { value: Measure; label: string }[] = [
    { value: 'live_bytes', label: 'Live bytes' },
    { value: 'live_objects', label: 'Live blocks' },
    { value: 'total_bytes', label: 'Total bytes' },
    { value: 'total_objects', label: 'Total blocks' },
]

function Moments(props: { label: string; first: string; moments: Moment[]; value?: number; change: (time?: number) => void }) {
    const newest = props.moments[props.moments.length - 1]
    return (
        <label class="select labelled">
            <span>{props.label}</span>
            <select
                value={props.value ?? ''}
                onChange={(event) => props.change(event.currentTarget.value === '' ? undefined : Number(event.currentTarget.value))}
            >
                <option value="">{props.first}</option>
                {[...props.moments].reverse().map((moment) => (
                    <option key={moment.time} value={moment.time}>
                        {timeOfDay(new Date(moment.time))}
                        {moment !== newest && `, ${duration((newest.time - moment.time) / 1000)} earlier`}
                    </option>
                ))}
            </select>
        </label>
    )
}

function Below({ pid, error }: { pid: number; error: ApiError }) {
    if (error.status !== 404) return <Failure error={error} />
    return (
        <Nothing title={error.message.charAt(0).toUpperCase() + error.message.slice(1)}>
            <p>
                Tracing is turned up while the program runs, and its profile appears here: <Command text={`hakmem set ${pid} level=trace`} />
            </p>
        </Nothing>
    )
}

function Sites(props: { stacks: Stacks; measure: Measure; now: Moment; before?: Moment; search: (name: string) => void }) {
    const { before, measure } = props
    const all = siteRows(props.stacks, measure, props.now, before)
    const signed = (value: number, format: (value: number) => string) => (value > 0 ? `+${format(value)}` : format(value))
    return (
        <Panel title="Allocation sites" aside={<span class="aside">{exact(all.length)}</span>}>
            <table class="sites">
                <thead>
                    <tr>
                        <th scope="col">Site</th>
                        {measureChoices.map(({ value, label }) => (
                            <th key={value} scope="col" class={`number ${value === measure ? 'chosen' : ''}`}>
                                {label}
                            </th>
                        ))}
                    </tr>
                </thead>
                <tbody>
                    {all.slice(0, mostRows).map((row) => {
                        const cell = (of: Measure, format: (value: number) => string) => {
                            const change = row.now[of] - row.before[of]
                            const tone = before === undefined || change === 0 ? '' : change > 0 ? 'grew' : 'shrank'
                            return (
                                <td class={`number ${tone} ${of === measure ? 'chosen' : ''}`}>
                                    {before === undefined ? format(row.now[of]) : signed(change, format)}
                                </td>
                            )
                        }
                        return (
                            <tr key={row.key}>
                                <td class="where">
                                    <button type="button" class="site plain" onClick={() => row.frame && props.search(row.frame.function)}>
                                        {row.frame ? frameName(row.frame) : 'unknown'}
                                    </button>
                                    {row.frame && (
                                        <span class="other">
                                            {row.frame.file ? `${fileName(row.frame.file)}:${row.frame.line ?? '?'}` : fileName(row.frame.module)}
                                        </span>
                                    )}
                                </td>
                                {cell('live_bytes', bytes)}
                                {cell('live_objects', count)}
                                {cell('total_bytes', bytes)}
                                {cell('total_objects', count)}
                            </tr>
                        )
                    })}
                </tbody>
            </table>
        </Panel>
    )
}

export function HeapView({ pid }: { pid: number }) {
    const { data, error } = useApi<Heap>(`/api/v1/processes/${pid}/heap`, every)
    const stacks = useRef<Stacks>(new Map())
    const [moments, setMoments] = useState<Moment[]>([])
    const [measure, setMeasure] = useState<Measure>('live_bytes')
    const [inverted, invert] = useState(false)
    const [shownTime, show] = useState<number>()
    const [baseTime, compare] = useState<number>()
    const [search, setSearch] = useState('')
    useEffect(() => {
        if (data === undefined) return
        setMoments((known) => (known.some((moment) => moment.time === data.time_ms) ? known : [...known, momentOf(data, stacks.current)].slice(-mostMoments)))
    }, [data])
    const now = moments.find((moment) => moment.time === shownTime) ?? moments[moments.length - 1]
    const before = moments.find((moment) => moment.time === baseTime)
    const root = useMemo(
        () => (now === undefined ? undefined : tree(stacks.current, measure, now, before, inverted)),
        [now, before, measure, inverted],
    )
    const format = measure.endsWith('bytes') ? bytes : count
    return (
        <>
            <p class="crumbs">
                <a href="/processes">Processes</a>
                <a href={`/processes/${pid}`}>{data ? `${data.process} ${pid}` : pid}</a>
                <span>Heap profile</span>
            </p>
            <Heading>Heap profile{data ? ` of ${data.process}` : ''}</Heading>
            {data === undefined && error && <Below pid={pid} error={error} />}
            {data !== undefined && data.sites.length === 0 && (
                <Nothing title="No allocation has been sampled yet.">
                    <p>
                        On average one allocation in <code>sample_bytes</code> is sampled; a smaller number shows more.
                    </p>
                </Nothing>
            )}
            {data !== undefined && root !== undefined && data.sites.length > 0 && now !== undefined && (
                <>
                    <div class="filters">
                        <Choices label="Measure" name="measure" choices={measureChoices} value={measure} change={setMeasure} />
                        <Choices
                            label="Direction"
                            name="direction"
                            choices={[
                                { value: 'down', label: 'From main' },
                                { value: 'up', label: 'By allocation site' },
                            ]}
                            value={inverted ? 'up' : 'down'}
                            change={(direction) => invert(direction === 'up')}
                        />
                        <Moments label="Moment" first="now" moments={moments} value={shownTime} change={show} />
                        <Moments label="Compared with" first="nothing" moments={moments} value={baseTime} change={compare} />
                        <input
                            type="search"
                            placeholder="Find a function"
                            aria-label="Mark frames whose function, file or module matches"
                            value={search}
                            onInput={(event) => setSearch(event.currentTarget.value)}
                        />
                    </div>
                    {before !== undefined && (
                        <p class="legend">
                            <span class="key grew">grew</span>
                            <span class="key shrank">shrank</span> since {timeOfDay(new Date(before.time))}; width is what changed
                        </p>
                    )}
                    {root.children.length > 0 ? (
                        <Flame
                            root={root}
                            rootName={before === undefined ? 'all of it' : 'all changes'}
                            difference={before !== undefined}
                            search={search}
                            format={format}
                        />
                    ) : (
                        <Nothing title={before ? 'Nothing changed between these moments.' : 'Nothing is held now.'} />
                    )}
                    <Sites stacks={stacks.current} measure={measure} now={now} before={before} search={setSearch} />
                    <p class="dim">
                        Estimated from samples: {bytes([...now.sums.values()].reduce((sum, row) => sum + row.live_bytes, 0))}; the allocator
                        counts {bytes(data.live_bytes)} live. What was allocated before tracing began is in no sample. Read every{' '}
                        {every / 1000} s; the moments seen in this tab can be compared.
                    </p>
                </>
            )}
        </>
    )
}
