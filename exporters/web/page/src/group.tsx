// All incidents of one fingerprint: one bug, wherever it was seen.
import { useState } from 'preact/hooks'
import { useApi, useKinds, useNow } from './api'
import { dateTime, exact, plural } from './format'
import { Copy, Failure, Heading, kindTitle, KindMark, Level, Nothing, Panel, Time } from './parts'
import { withQuery } from './router'
import type { Groups, Summary } from './types'

const step = 100

function Row({ row, now }: { row: Summary; now: number }) {
    return (
        <tr>
            <td>
                <a class="row-link mono" href={`/incidents/${row.id}`}>
                    {row.id}
                </a>
            </td>
            <td class="process">
                <span class="name">{row.process}</span> <span class="pid">{row.pid}</span>
            </td>
            <td class="wide">{row.thread}</td>
            <td>
                <Level level={row.level} />
            </td>
            <td class="number">{exact(row.count)}</td>
            <td class="time">
                <Time time={row.first_seen} now={now} />
            </td>
            <td class="time">
                <Time time={row.last_seen} now={now} />
            </td>
        </tr>
    )
}

export function GroupView({ fingerprint }: { fingerprint: string }) {
    const [rows, setRows] = useState(step)
    const kinds = useKinds()
    const now = useNow()
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
                    {kindTitle(kinds, group.kind)} at {group.site}
                </Heading>
                <span class="actions">
                    <Copy text={`${location.origin}/groups/${fingerprint}`} label="Copy link" />
                    <a class="button" href={`/incidents/${group.latest}`}>
                        Latest incident
                    </a>
                </span>
            </div>
            <p class="story">
                Seen {plural(group.count, 'time')} in {plural(group.incidents, 'process record')}, first {dateTime(group.first_seen)}, last{' '}
                <Time time={group.last_seen} now={now} />. Equal kind and equal place mean the same fingerprint, in every process and every run.
            </p>
            <Panel title="Occurrences" aside={<span class="aside">{exact(group.incidents)}</span>}>
                <Failure error={list.error} />
                <table class="rows occurrences">
                    <thead>
                        <tr>
                            <th scope="col">Incident</th>
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
                    <tbody>
                        {(list.data ?? []).map((row) => (
                            <Row key={row.id} row={row} now={now} />
                        ))}
                    </tbody>
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
