// All incidents of one fingerprint: one bug, wherever it was seen.
import { useState } from 'preact/hooks'
import { groupPlace, shortBuild } from './groups'
import { useApi, useKinds } from './api'
import { dateTime, exact, plural } from './format'
import { Copy, Failure, Heading, kindTitle, KindMark, Level, Nothing, Panel, Time } from './parts'
import { withQuery } from './router'
import { Rows } from './rows'
import type { Build, Groups, Summary } from './types'

const step = 100

function Row({ row }: { row: Summary }) {
    return (
        <tr>
            <td>
                <a class="row-link mono" href={`/incidents/${row.id}`}>
                    {row.id}
                </a>
            </td>
            {row.host !== undefined && (
                <td class="host">
                    <a href={withQuery('/', { host: row.host })}>{row.host}</a>
                </td>
            )}
            {row.host !== undefined && (
                <td class="mono wide" title={row.build_id}>
                    {shortBuild(row.build_id ?? '')}
                </td>
            )}
            <td class="process">
                <span class="name">{row.process}</span> <span class="pid">{row.pid}</span>
            </td>
            <td class="wide">{row.thread}</td>
            <td>
                <Level level={row.level} />
            </td>
            <td class="number count">{exact(row.count)}</td>
            <td class="time first">
                <Time time={row.first_seen} />
            </td>
            <td class="time last">
                <Time time={row.last_seen} />
            </td>
        </tr>
    )
}

const drawRow = (row: Summary) => <Row row={row} />

// In which builds the bug was seen: the first is the one to look at for what brought it.
function Builds({ builds, all }: { builds: Build[]; all: number }) {
    return (
        <Panel title="Builds" aside={<span class="aside">{exact(all)}, the first one on top</span>}>
            <table class="rows builds">
                <thead>
                    <tr>
                        <th scope="col">Build-id</th>
                        <th scope="col">Module</th>
                        <th scope="col" class="number">
                            Hosts
                        </th>
                        <th scope="col" class="number">
                            Count
                        </th>
                        <th scope="col" class="time">
                            First seen
                        </th>
                        <th scope="col" class="time">
                            Last seen
                        </th>
                    </tr>
                </thead>
                <tbody>
                    {builds.map((build, index) => (
                        <tr key={build.build_id}>
                            <td class="mono" title={build.build_id}>
                                <a href={withQuery('/', { build: build.build_id })}>{shortBuild(build.build_id)}</a>
                                {index === 0 && ' first seen here'}
                            </td>
                            <td>{build.module}</td>
                            <td class="number hosts">{exact(build.hosts)}</td>
                            <td class="number count">{exact(build.count)}</td>
                            <td class="time first">
                                <Time time={build.first_seen} />
                            </td>
                            <td class="time last">
                                <Time time={build.last_seen} />
                            </td>
                        </tr>
                    ))}
                </tbody>
            </table>
        </Panel>
    )
}

export function GroupView({ fingerprint }: { fingerprint: string }) {
    const [rows, setRows] = useState(step)
    const kinds = useKinds()
    const groups = useApi<Groups>(withQuery('/api/v1/groups', { fingerprint }), 3000)
    const list = useApi<Summary[]>(withQuery('/api/v1/incidents', { fingerprint, brief: '1', limit: String(rows) }), 5000)
    const group = groups.data?.groups[0]
    if (group === undefined)
        return (
            <>
                <Heading>{groups.data ? 'No incident of that fingerprint' : 'Fingerprint'}</Heading>
                <Failure error={groups.error} />
                {groups.data && (
                    <Nothing title="Nothing is stored under it.">
                        <p>
                            <a href="/">All incidents</a>
                        </p>
                    </Nothing>
                )}
            </>
        )
    return (
        <>
            <p class="crumbs">
                <a href="/">Incidents</a>
                <a href={withQuery('/', { kind: group.kind })}>{kindTitle(kinds, group.kind)}</a>
                <span class="mono">{fingerprint}</span>
            </p>
            <div class="title-row">
                <Heading>
                    <KindMark kind={group.kind} />
                    {kindTitle(kinds, group.kind)}
                    {groupPlace(group)}
                </Heading>
                <span class="actions">
                    <Copy text={`${location.origin}/groups/${fingerprint}`} label="Copy link" />
                    <a class="button" href={`/incidents/${group.latest}`}>
                        Latest incident
                    </a>
                </span>
            </div>
            <p class="story">
                Seen {plural(group.count, 'time')} in {plural(group.incidents, 'process record')}
                {group.hosts !== undefined && ` on ${plural(group.hosts, 'host')}`}, first {dateTime(group.first_seen)}, last{' '}
                <Time time={group.last_seen} />. Equal kind and equal place mean the same fingerprint, in every process and every run.
            </p>
            {group.builds !== undefined && <Builds builds={group.builds} all={group.all_builds ?? group.builds.length} />}
            <Panel title="Occurrences" aside={<span class="aside">{exact(group.incidents)}</span>}>
                <Failure error={list.error} />
                <table class="rows occurrences">
                    <thead>
                        <tr>
                            <th scope="col">Incident</th>
                            {group.hosts !== undefined && <th scope="col">Host</th>}
                            {group.hosts !== undefined && (
                                <th scope="col" class="wide">
                                    Build
                                </th>
                            )}
                            <th scope="col">Process</th>
                            <th scope="col" class="wide">
                                Thread
                            </th>
                            <th scope="col">Level</th>
                            <th scope="col" class="number">
                                Count
                            </th>
                            <th scope="col" class="time">
                                First seen
                            </th>
                            <th scope="col" class="time">
                                Last seen
                            </th>
                        </tr>
                    </thead>
                    <Rows items={list.data ?? []} id={(row) => row.id} draw={drawRow} />
                </table>
                {list.data !== undefined && group.incidents > list.data.length && (
                    <p class="more-rows">
                        {exact(list.data.length)} of {exact(group.incidents)} shown
                        <button type="button" onClick={() => setRows(Math.min(rows * 4, 10_000))}>
                            Show more
                        </button>
                    </p>
                )}
            </Panel>
        </>
    )
}
