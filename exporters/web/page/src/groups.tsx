// Incidents grouped by fingerprint: one row a bug, with filters that are part of the address.
import { useCallback } from 'preact/hooks'
import { type Answer, useKinds } from './api'
import { count, exact, plural } from './format'
import { Choices, Failure, kindTitle, KindMark, Nothing, Time } from './parts'
import { go, type Place, withQuery } from './router'
import { Rows } from './rows'
import type { Facet, Group, Groups } from './types'

export const ranges = [
    { value: '1h', label: '1 h', seconds: 3600 },
    { value: '24h', label: '24 h', seconds: 86_400 },
    { value: '7d', label: '7 d', seconds: 7 * 86_400 },
    { value: '30d', label: '30 d', seconds: 30 * 86_400 },
    { value: 'all', label: 'All', seconds: 0 },
]

const step = 100 // rows shown at first, and with each «more»
const maxRows = 10_000

// What the second place of a row is.
const otherWords: Record<string, string> = {
    double_free: 'freed before in',
    use_after_free_write: 'freed in',
    header_overwritten: 'suspect allocated in',
    header_write_caught: 'suspect allocated in',
}

export function groupPlace({ site, other_site }: Group): string {
    if (site === null) return ', noticed in passing'
    return site === other_site ? ` behind a block of ${site}` : ` at ${site}`
}

export interface Filter {
    kind?: string
    process?: string
    host?: string // of a fleet
    build?: string // of a fleet
    range: string
    rows: number
}

export function filterOf(place: Place): Filter {
    const range = place.query.get('range') ?? 'all'
    const rows = Number(place.query.get('rows') ?? step)
    return {
        kind: place.query.get('kind') ?? undefined,
        process: place.query.get('process') ?? undefined,
        host: place.query.get('host') ?? undefined,
        build: place.query.get('build') ?? undefined,
        range: ranges.some((known) => known.value === range) ? range : 'all',
        rows: Number.isInteger(rows) && rows > 0 && rows <= maxRows ? rows : step,
    }
}

export function groupsPath(filter: Filter, now: number): string {
    const seconds = ranges.find((range) => range.value === filter.range)?.seconds ?? 0
    // In whole minutes, so that the same question stays the same address for a while.
    const since = seconds > 0 ? String(Math.floor(now / 60_000) * 60 - seconds) : undefined
    const { kind, process, host, build } = filter
    return withQuery('/api/v1/groups', { kind, process, host, build, since, limit: String(filter.rows) })
}

export const isFiltered = ({ kind, process, host, build, range }: Filter) =>
    [kind, process, host, build].some((value) => value !== undefined) || range !== 'all'

const filterLink = (path: string, filter: Filter) =>
    withQuery(path, {
        process: filter.process,
        kind: filter.kind,
        host: filter.host,
        build: filter.build,
        range: filter.range === 'all' ? undefined : filter.range,
        rows: filter.rows === step ? undefined : String(filter.rows),
    })

// The start of a build-id is enough to tell builds apart.
export const shortBuild = (id: string) => (id === '' ? 'a build without an id' : id.slice(0, 12))

function seenInBuilds(group: Group): string {
    const first = group.builds?.[0]
    if (first === undefined) return ''
    const others = (group.all_builds ?? 1) - 1
    return `first seen in build-id ${shortBuild(first.build_id)}` + (others > 0 ? ` and since in ${plural(others, 'other build')}` : '')
}

// Where a group was noticed: nothing is to be said of it where only the suspect's site is known, which is told beside it.
function Site({ group }: { group: Group }) {
    if (group.site === null) return <span class="caller">noticed in passing, not by a call</span>
    if (group.site === group.other_site) return null
    return (
        <>
            <span class="site">{group.site}</span>
            {group.caller && <span class="caller"> from {group.caller}</span>}
        </>
    )
}

function Row({ group, kinds }: { group: Group; kinds: ReturnType<typeof useKinds> }) {
    const [first, ...others] = group.processes
    return (
        <tr>
            <td class="kind">
                <a class="row-link" href={`/incidents/${group.latest}`}>
                    <KindMark kind={group.kind} />
                    {kindTitle(kinds, group.kind)}
                </a>
            </td>
            <td class="where">
                <Site group={group} />
                {group.other_site && (
                    <span class="other">
                        {otherWords[group.kind] ?? 'allocated in'} <span class="site">{group.other_site}</span>
                    </span>
                )}
                {group.hosts !== undefined && (
                    <span class="other">
                        <a href={`/groups/${group.fingerprint}`}>{plural(group.hosts, 'host')}</a>, {seenInBuilds(group)}
                    </span>
                )}
            </td>
            <td class="process" title={group.processes.slice(0, 20).join(', ')}>
                <span class="name">{first}</span>
                {others.length > 0 && <span class="more">+{exact(others.length)}</span>}
            </td>
            <td class="number" title={`${exact(group.count)} times, ${plural(group.incidents, 'process record')}`}>
                {count(group.count)}
            </td>
            <td class="time first">
                <Time time={group.first_seen} />
            </td>
            <td class="time">
                <Time time={group.last_seen} />
            </td>
        </tr>
    )
}

function Select(props: {
    label: string
    all: string
    facets: Facet[]
    value?: string
    name: (facet: string) => string
    change: (value?: string) => void
}) {
    const known = props.value === undefined || props.facets.some((facet) => facet.name === props.value)
    return (
        <label class="select">
            <span class="offscreen">{props.label}</span>
            <select value={props.value ?? ''} onChange={(event) => props.change(event.currentTarget.value || undefined)}>
                <option value="">{props.all}</option>
                {!known && <option value={props.value}>{props.name(props.value!)}</option>}
                {props.facets.map((facet) => (
                    <option key={facet.name} value={facet.name}>
                        {props.name(facet.name)} ({exact(facet.groups)})
                    </option>
                ))}
            </select>
        </label>
    )
}

function Filters({ place, groups, filter }: { place: Place; groups?: Groups; filter: Filter }) {
    const kinds = useKinds()
    const change = (more: Partial<Filter>) => go(filterLink(place.path, { ...filter, rows: step, ...more }), true)
    return (
        <div class="filters" role="search" aria-label="Filter incidents">
            <Choices label="Seen in the last" name="range" choices={ranges} value={filter.range} change={(range) => change({ range })} />
            <Select
                label="Process"
                all="All processes"
                facets={groups?.processes ?? []}
                value={filter.process}
                name={(name) => name}
                change={(process) => change({ process })}
            />
            <Select
                label="Kind"
                all="All kinds"
                facets={groups?.kinds ?? []}
                value={filter.kind}
                name={(name) => kindTitle(kinds, name)}
                change={(kind) => change({ kind })}
            />
            {filter.host !== undefined && <span class="note">on host {filter.host}</span>}
            {filter.build !== undefined && <span class="note">in build {shortBuild(filter.build)}</span>}
            {isFiltered(filter) && (
                <button
                    type="button"
                    class="quiet"
                    onClick={() => change({ kind: undefined, process: undefined, host: undefined, build: undefined, range: 'all' })}
                >
                    Clear
                </button>
            )}
        </div>
    )
}

export function GroupRows({ groups }: { groups: Group[] }) {
    const kinds = useKinds()
    const draw = useCallback((group: Group) => <Row group={group} kinds={kinds} />, [kinds])
    return (
        <table class="groups rows">
            <thead>
                <tr>
                    <th scope="col">What</th>
                    <th scope="col">Where</th>
                    <th scope="col">Process</th>
                    <th scope="col" class="number">
                        Count
                    </th>
                    <th scope="col" class="time first">
                        First seen
                    </th>
                    <th scope="col" class="time">
                        Last seen
                    </th>
                </tr>
            </thead>
            <Rows items={groups} id={(group) => group.fingerprint} draw={draw} />
        </table>
    )
}

export function FilteredGroups({ place, groups, filter }: { place: Place; groups: Answer<Groups>; filter: Filter }) {
    const data = groups.data
    const filtered = isFiltered(filter)
    return (
        <>
            <Filters place={place} groups={data} filter={filter} />
            <Failure error={groups.error} />
            {data !== undefined && data.groups.length === 0 && (
                <Nothing title={filtered ? 'Nothing matches these filters.' : 'No incident has been recorded.'}>
                    {!filtered && <p>That is the good case. A bad free, an overwritten header, a write after free: each would be a row here.</p>}
                </Nothing>
            )}
            {data !== undefined && data.groups.length > 0 && <GroupRows groups={data.groups} />}
            {data !== undefined && data.all_groups > data.groups.length && (
                <p class="more-rows">
                    {exact(data.groups.length)} of {exact(data.all_groups)} shown
                    <button
                        type="button"
                        onClick={() => go(filterLink(place.path, { ...filter, rows: Math.min(filter.rows + 4 * step, maxRows) }), true)}
                    >
                        Show more
                    </button>
                </p>
            )}
        </>
    )
}
